"""The report of a run: one HTML page without scripts or requests, and a record of what was run.

run_record    run.json: code, machine, packages, weights, digests, time and memory of stages
crate         an RO-Crate of a finished run
tables        the tables that the page is made from
first_screen  the question, the verdict and Table 1
answers       answers as forest plots
by_country    accuracies on a world map, and confusions by region
curves        training curves
run_details   data, configuration, stages, software
citations     what to cite for the data, weights and methods
licenses      the licenses of data and weights
page          all of it as HTML (templates/)
"""
