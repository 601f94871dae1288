# The same workflow for `make missing`: what exists stays as it is, whatever is newer.


inputflags:
    ancient,


include: "Snakefile"
