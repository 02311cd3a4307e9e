"""Files of a job: as they are submitted (`source`), and as its handler gets them (`uploaded`)."""
