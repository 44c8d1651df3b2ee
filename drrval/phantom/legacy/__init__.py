"""The demo cohort's first thorax phantom, until studies use the new one."""
