"""What one would otherwise label reports with: each module's `load` gives text -> status.

All are English and know one finding, vertebral fractures. Each is written from its documentation
and from `vocabulary`, which all but the published phrases share; none was tuned to a set.
"""
