"""People look: one self-contained, offline page about a run (`page.write_report`), drawn from plain arrays (`inputs.ReportInputs`)."""

from candelabra.report.inputs import ReportInputs
from candelabra.report.page import write_report, write_section

__all__ = ["ReportInputs", "write_report", "write_section"]
