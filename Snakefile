# Beyond the Image: raw street images -> masks -> weighted datasets -> models -> Table 1.
# Rules declare, scripts translate, scripts/geoloc computes. README.md has a diagram of the stages.

from snakemake.utils import min_version

min_version("9.27")


include: "rules/disk.smk"


configfile: "config/config.yaml"


include: "rules/configuration.smk"
include: "rules/machine.smk"
include: "rules/entries.smk"
include: "rules/data.smk"
include: "rules/functions.smk"
include: "rules/matrix.smk"
include: "rules/retrieve.smk"
include: "rules/demo.smk"
include: "rules/index.smk"
include: "rules/prepare.smk"
include: "rules/check_leakage.smk"
include: "rules/segment.smk"
include: "rules/pack.smk"
include: "rules/describe.smk"
include: "rules/list_shards.smk"
include: "rules/train.smk"
include: "rules/predict.smk"
include: "rules/evaluate.smk"
include: "rules/explain.smk"
include: "rules/report.smk"


onstart:
    # `geoloc verify` compares the run's files with its last configuration.
    try:
        write_config(f"{RESULTS}/config.yaml", config)
        HELD.append(hold_while_running(RUNNING))
    except OSError as error:  # a full disk, a folder of another user
        raise WorkflowError(str(error)) from None


onsuccess:
    if Path(RESULTS, "table1.txt").exists():
        print(
            f"Results: {RESULTS}/report.html, table1.txt, metrics.csv, figures/",
            file=sys.stderr,
        )
    # `make demo` prints it below the table.
    if Path(RESULTS, "verdict.txt").exists() and not config["demo"]:
        print(
            Path(RESULTS, "verdict.txt").read_text(encoding="utf-8"),
            file=sys.stderr,
        )


rule all:
    default_target: True
    input:
        weights_before_index,
        rules.table1.output.table,
        # Published accuracies are comparable only for the same images, classes and datasets.
        [] if DIFFERENCES_FROM_STUDY else rules.table1_comparison.output.comparison,
        rules.metrics.output.metrics,
        rules.answers.output.table,
        # The photos of the demo are generated.
        (
            rules.published_distances.output.table
            if published_test_sets() & set(TEST_SETS) and not config["demo"]
            else []
        ),
        rules.collect_quarantine.output.quarantine,
        rules.check_leakage.output.summary,
        [f"<results>/figures/score_examples/{name}.png" for name in SCORES_USED],
        rules.found.output.classes if SCORES_USED else [],
        rules.training_curves.output.figure if TRAINED_ROWS else [],
        rules.accuracy_figure.output.figure,
        list(rules.explanations.output) if EXPLAINED else [],
        [f"<results>/figures/explanations/{name}.png" for name in EXPLAINED_MODELS],
        rules.report.output.page,
    localrule: True
