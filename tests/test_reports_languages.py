"""Chinese, Spanish, and a second finding: against a table, and against each other."""

import random
import re
import textwrap
import time
from pathlib import Path

import pytest
from report_tables import answer, rows_of

from vfscreen.errors import ReportsError
from vfscreen.reports.labelling import label
from vfscreen.reports.lexicon import LEVELS, Lexicon, load

ROWS = rows_of("reports_languages.md")


@pytest.mark.parametrize(
    ("finding", "text", "status", "levels", "also"), ROWS, ids=[r[1] for r in ROWS]
)
def test_row(
    finding: str, text: str, status: str, levels: tuple[str, ...], also: frozenset[str]
) -> None:
    labelled = label(text, load(finding=finding))
    assert labelled.report_status == status, labelled.evidence
    assert labelled.levels == levels
    assert labelled.recommendation == ("recommended" in also)
    if "history" in also:
        assert labelled.history
    for value in also & {"acute", "old"}:
        assert labelled.acuity == value
    for value in also & {"mild", "moderate", "severe"}:
        assert labelled.severity == value


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        lambda text: text.replace(" ", "\r\n"),
        lambda text: "\n".join(
            textwrap.wrap(text, 12, break_long_words=False, break_on_hyphens=False)
        ),
        # Chinese breaks its lines anywhere.
        lambda text: re.sub(r"(?<=[\u3400-\u9fff])(?=[\u3400-\u9fff])", "\n", text),
    ],
    ids=["upper", "lower", "word a line", "narrow", "character a line"],
)
def test_case_and_line_breaks_change_nothing(change: object) -> None:
    assert callable(change)
    for finding, text, *_ in ROWS:
        lexicon = load(finding=finding)
        assert answer(label(change(text), lexicon)) == answer(label(text, lexicon)), text


def test_spanish_is_read_without_its_accents_and_with_them_apart() -> None:
    import unicodedata

    for finding, text, *_ in ROWS:
        if not re.search("[áéíóúñ]", text):
            continue
        lexicon = load(finding=finding)
        apart = unicodedata.normalize("NFD", text)
        bare = "".join(c for c in apart if not unicodedata.combining(c))
        for form in (apart, bare):
            assert answer(label(form, lexicon)) == answer(label(text, lexicon)), form


_SIMPLIFIED = str.maketrans(
    "壓縮體頸節變陳舊無見顯發現與慮輕減維質鬆議檢斷診結論臨資電側關盤間橫鎖術後確據較級嚴報補於癒狀",
    "压缩体颈节变陈旧无见显发现与虑轻减维质松议检断诊结论临资电侧关盘间横锁术后确据较级严报补于愈状",
)


def test_simplified_characters_and_full_width_forms_are_read_as_the_others() -> None:
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code).isalnum()}
    for finding, text, *_ in ROWS:
        if not re.search("[\u3400-\u9fff]", text):
            continue
        lexicon = load(finding=finding)
        for form in (text.translate(_SIMPLIFIED), text.translate(wide)):
            assert answer(label(form, lexicon)) == answer(label(text, lexicon)), form


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Fracture of L1. No obstruction.", "zh-Hant"),
        ("L1 壓迫性骨折", "zh-Hant"),
        ("Fractura de L1. Sin obstrucción.", "es"),
        ("FX L1", "zh-Hant"),
        ("Sin hallazgos en columna.", "es"),
        ("", "zh-Hant"),
        ("Dr. de la Cruz: compression fracture of L1 is seen, no dislocation.", "zh-Hant"),
    ],
)
def test_a_report_is_read_by_the_lexicon_of_its_language(text: str, language: str) -> None:
    assert load().reading(text)[0].language == language


def test_languages_can_be_narrowed() -> None:
    text = "Aplastamiento vertebral de D12."
    assert label(text, load()).report_status == "ambiguous"
    assert label(text, load(languages=["en", "zh-Hant"])).report_status == "not_mentioned"
    assert load(languages=["en"]).language == "en"
    with pytest.raises(ReportsError, match="hip_fracture in es"):
        load(finding="hip_fracture", languages=["es"])


def test_what_counts_is_in_the_hash() -> None:
    hashes = {
        load().sha256,
        load(languages=["en"]).sha256,
        load(languages=["es"]).sha256,
        load(languages=["zh-Hant"]).sha256,
        load(finding="hip_fracture").sha256,
    }
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("第十二胸椎及第一、二腰椎骨折", "T12 L1 L2"),
        ("第三至第五腰椎骨折", "L3 L4 L5"),
        ("胸椎第十一節至腰椎第一節骨折", "T11 T12 L1"),
        ("腰椎第１－３節骨折", "L1 L2 L3"),
        ("L1、3骨折", "L1 L3"),
        ("Fracturas de D11 y D12", "T11 T12"),
        ("Fractura de la primera y segunda vértebras lumbares", "L1 L2"),
        ("Fracturas de D11 a L1", "T11 T12 L1"),
        ("Fractura de las vértebras lumbares 1 y 2", "L1 L2"),
        ("Fractures of the first and third lumbar vertebrae", "L1 L3"),
        ("T12/L1 fractures", "T12 L1"),
        ("Fractures of L2-T12", "T12 L1 L2"),
    ],
)
def test_levels_are_spelt_in_many_ways(text: str, levels: str) -> None:
    assert label(text, load()).levels == tuple(levels.split())


_BRICKS = (
    "無", "未見", "骨折", "第一", "腰椎", "、", "，", "。", "疑似", "高度", "減少", "第", "十",
    "sin ", "no se ", "fractura ", "de ", "y ", "primera ", "vértebra ", "lumbar ", "¿", "ó",
    "\u0301", "L1", "-", "壓", "椎間盤",
    "建議", "。 ", "hallazgos: ", "，L1、", "12ª ", "ＡＢ１",
)  # fmt: skip


@pytest.mark.parametrize(
    "brick", [*_BRICKS, "第一、", "primera y ", "未見骨折，", "no hay fractura ni "]
)
def test_time_is_linear_in_hostile_text(brick: str) -> None:
    text = brick * (200_000 // len(brick))
    load()
    started = time.process_time()
    label(text, load())
    assert time.process_time() - started < 2.0


def test_random_text_is_data() -> None:
    rng = random.Random(11)
    for _ in range(300):
        text = "".join(rng.choices(_BRICKS, k=80))
        for mention in label(text, load()).evidence:
            assert 0 <= mention.start < mention.end <= len(text)


def _write(tmp_path: Path, text: str) -> Lexicon:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


_SITE = """[lexicon]
finding = "rib_fracture"
language = "en"
extends = "en"
without = ["fracture.compression", "fracture.vertebral", "deformity.*", "cement",
  "cement.*", "height", "intact", "benign", "benign.*", "site.*", "other.rib_and_chest"]

[levels]
role = "other"

[[entry]]
id = "site.rib"
role = "target"
terms = ["{rib|ribs|costal}"]
source = "TA"

[[entry]]
id = "other.spine"
role = "other"
value = "bone"
terms = ["{spine|lumbar|vertebral}"]
source = "TA"
"""


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('other = ["x"]', r"\[grammar\] has unknown other"),
        ('one = "it"', "`one` of .grammar. is a list of strings"),
        ('one = ["this one"]', "`this one` of .grammar. is not a single word"),
    ],
)
def test_what_the_grammar_of_a_lexicon_cannot_be(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(ReportsError, match=said):
        _write(tmp_path, _SITE.replace("[levels]", f"[grammar]\n{table}\n\n[levels]"))


def test_a_site_writes_a_lexicon_over_the_shipped_one(tmp_path: Path) -> None:
    lexicon = _write(tmp_path, _SITE)
    assert lexicon.finding == "rib_fracture"
    for text, status in (
        ("Old fracture of the left 7th rib.", "reported"),
        ("No displaced rib fracture. L1 compression fracture.", "denied"),
        ("Fracture of L1.", "not_mentioned"),
        ("Possible rib fracture.", "uncertain"),
    ):
        assert label(text, lexicon).report_status == status, text
    assert not set(label("Fracture of L1.", lexicon).levels) & set(LEVELS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"target"', '"place"', "line 11: entry site.rib: there is no role `place`"),
        ("{rib|ribs|costal}", "{rib|{ribs|costal}}", "line 11: entry site.rib: the braces"),
        ('id = "other.spine"', 'id = "site.rib"', "line 17: entry site.rib: there are two"),
        ('source = "TA"\n\n', "\n", "line 11: entry site.rib: without source"),
        ('extends = "en"', 'extends = "fr"', "`extends` is one of en, es, hip_fracture, zh-Hant"),
        ('"site.*"', '"sites.*"', "`without` names `sites.*`"),
        ("|vertebral", "|skull", "shares the term `skull` with other.limb_and_skull"),
        ('role = "other"\n\n', 'role = "none"\n\n', r"`role` of \[levels\] is target or other"),
        ("[lexicon]", "[lexicon]\nfindings = 1", "unknown findings"),
        ("{spine|", "{a|b|c|d|e|f|g|h}" * 5 + "{spine|", "more than 20,000"),
        ("[[entry]]", "[entry]]", "is not TOML"),
    ],
)  # fmt: skip
def test_a_bad_lexicon_is_refused_in_one_sentence(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in _SITE
    text = _SITE.replace(old, new, 1)
    with pytest.raises(ReportsError, match=said) as refused:
        _write(tmp_path, text)
    assert "site.toml" in str(refused.value)
    assert "\n" not in str(refused.value)
