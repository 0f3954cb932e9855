"""vfscreen: find the vertebral fractures that archived abdominal films show and reports do not."""

__version__ = "0.1.0"
