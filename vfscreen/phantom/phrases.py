"""The sentences that phantom reports are made of.

Written from how abdominal films are dictated, apart from the words that any labeller looks for.
"""

from vfscreen.phantom.anatomy import Shape
from vfscreen.phantom.mimics import Mimic

# ---- What the mention says ---------------------------------------------------------------------

SEVERITY = {1: ("mild", "slight", "minimal"), 2: ("moderate",), 3: ("severe", "marked")}
SHAPE = {Shape.WEDGE: "wedge", Shape.BICONCAVE: "biconcave", Shape.CRUSH: "crush"}

REPORTED = (
    "There is a {severity} {shape} fracture of {levels}.",
    "{Age} {severity} compression fracture of the {levels} vertebral body.",
    "{Age} {levels} compression fracture.",
    "Compression fracture at {levels}, {age}.",
    "{Severity} {shape} compression fracture of {levels} is noted, of indeterminate age.",
    "Incidental note is made of {levels} vertebral fracture.",
    "Vertebral compression fracture at {levels} with approximately {percent}% loss of height.",
    "Osteoporotic fracture of {levels}.",
    "Osteopenia with a {severity} compression fracture of {levels}. Recommend DXA if not done.",
    "The {levels} vertebral body is fractured, {severity} in degree.",
    "Fracture of the superior endplate of {levels}. Osteoporosis assessment is advised.",
    "Unchanged {levels} compression fracture compared with the previous study.",
    "No acute fracture. Chronic {levels} compression fracture again seen.",
)
REPORTED_BRIEF = (
    "{levels} wedge #.",
    "Old # {levels}.",
    "Comp fx {levels}.",
    "{levels} VCF, {age}.",
    "{Severity} wedge fx of {levels}.",
)
UNCERTAIN = (
    "Possible compression fracture of {levels}.",
    "Appearance of {levels} is suspicious for compression fracture. Lateral view is recommended.",
    "A fracture of {levels} cannot be excluded on this single view.",
    "{severity} irregularity of {levels} may represent a compression fracture.",
    "Questionable {levels} compression fracture; dedicated spine radiographs would be helpful.",
    "Probable {age} {levels} fracture.",
    "? fracture of {levels}.",
    "{levels} compression fracture versus projection.",
)
AMBIGUOUS = (
    "{Severity} height loss of {levels}.",
    "{Severity} anterior wedging of {levels}.",
    "{Age} compression deformity of {levels}.",
    "Loss of vertebral body height at {levels}, approximately {percent}%.",
    "The {levels} vertebral body is decreased in height.",
    "Partial collapse of {levels}.",
    "{Shape} deformity of {levels}, {age}.",
    "{levels} appears {severity}ly compressed.",
)
DENIED = (
    "No vertebral compression fracture.",
    "No acute fracture.",
    "Vertebral body heights are maintained.",
    "The visualised vertebral bodies are normal in height.",
    "No compression deformity of the lumbar spine is seen.",
    "No fracture or destructive bone lesion.",
    "Lumbar vertebrae are intact.",
    "Degenerative changes of the lumbar spine without evidence of fracture.",
    "There is no loss of vertebral height.",
)
ADDED = (
    "The findings were discussed with the ward by telephone.",
    "The tip of the nasogastric tube lies in the stomach.",
    "Prior films have become available. The bowel gas pattern is unchanged.",
    "Correction of side: the calculus lies on the left.",
)


# ---- What else a report says -------------------------------------------------------------------

COMPLAINTS = (
    "Abdominal pain.", "Constipation.", "Vomiting, ? obstruction.", "Abdominal distension.",
    "Suspected renal colic.", "Nasogastric tube position.", "Left flank pain, haematuria.",
    "Nausea for three days.", "Post-operative ileus.", "Fall with abdominal pain.",
    "Low back pain radiating to the groin, rule out stone.", "Abdominal pain, r/o perforation.",
    "Known gallstones.", "Follow-up of ureteral stent.", "Hip fracture last year.",
)  # fmt: skip
KNOWN = (
    "Known {levels} compression fracture.",
    "History of {levels} vertebral fracture.",
    "Previous {levels} wedge fracture.",
    "Osteoporosis with {levels} compression fracture in the past.",
)
BOWEL = (
    "Nonobstructive bowel gas pattern.", "Bowel gas pattern is unremarkable.",
    "Moderate stool burden throughout the colon.", "Marked faecal loading.",
    "Mildly dilated small bowel loops in the left abdomen, possible early ileus.",
    "No dilated bowel loops.", "Gas is seen to the rectum.",
    "Air-fluid levels are not demonstrated on this supine film.",
    "No evidence of bowel obstruction or free intraperitoneal air.",
)  # fmt: skip
SOFT = (
    "Calcified gallstones in the right upper quadrant.", "No radiopaque calculus.",
    "5 mm calcific density projects over the lower pole of the left kidney.",
    "Phleboliths in the pelvis.", "Vascular calcification of the abdominal aorta.",
    "Surgical clips in the right upper quadrant.", "Foley catheter in the bladder.",
    "Nasogastric tube with its tip projecting over the stomach.",
    "Left double-J ureteral stent in position.", "Psoas shadows are preserved.",
    "No organomegaly.", "Lung bases are clear.", "Residual contrast in the colon.",
    "Inferior vena cava filter projects over L2-L3.", "Collapse of the left lower lobe.",
)  # fmt: skip
BONE_FORMULAS = (
    "No acute osseous abnormality.", "Degenerative changes of the lumbar spine.",
    "Osteopenia.", "Bones are unremarkable.", "Spondylosis of the lumbar spine.",
    "Right total hip arthroplasty.", "Old healed right tenth rib fracture.",
    "Facet arthropathy of the lower lumbar spine.", "Prior fixation of a left femoral fracture.",
    "Disc space narrowing at L4-5.", "Mild loss of disc height at L5-S1.",
    "Sacroiliac joints are symmetric.",
)  # fmt: skip
MIMICS = {
    Mimic.DISC_NARROWING: (
        "Disc space narrowing below {level}.",
        "Loss of disc height at {level}.",
    ),
    Mimic.SPURS: ("Marginal osteophytes, most marked at {level}.", "Bridging spurs at {level}."),
    Mimic.TILT: ("The lumbar spine is tilted.", "Positional tilt of the spine."),
    Mimic.SCOLIOSIS: ("Scoliosis centred at {level}.", "Lumbar scoliosis, convex to the left."),
    Mimic.SCHMORL_NODE: ("Schmorl's node at {level}.", "Schmorl node in the endplate of {level}."),
    Mimic.SHORT_BODY: ("{level} is small, a normal variant.", "Small {level} vertebra, a variant."),
    Mimic.NORMAL_WEDGE: (
        "Normal shape of {level} for its place.",
        "{level} as usual at this place.",
    ),
    Mimic.CUPIDS_BOW: ("Cupid's bow contour at {level}.", "Cupid's bow configuration of {level}."),
}
