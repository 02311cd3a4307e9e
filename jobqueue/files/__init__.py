"""Files that travel with a job: what a submitter may give as one (`source`), and what its handler gets (`uploaded`)."""
