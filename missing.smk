# The workflow for `geoloc missing`: existing files are left alone, even if their inputs are newer.


inputflags:
    ancient,


include: "Snakefile"
