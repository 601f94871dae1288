# The generated world of the demo, in the raw layouts of the real sources.

if config["demo"]:

    rule make_demo_data:
        output:
            # An experiment may use some of the sources only.
            [
                directory(FOLDERS[name])
                for name in ("geoguessr", "streetview", "im2gps3k")
                if name in FOLDERS
            ],
        log:
            "<logs>/make_demo_data.log",
        benchmark:
            "<benchmarks>/make_demo_data.tsv"
        conda:
            "../envs/geo.yaml"
        container:
            config["containers"]["geo"]
        threads: 2
        resources:
            mem_mb=scaled(4000),
            runtime=scaled(30),
        params:
            **config["demo"],
            seed=config["seed"],
        message:
            "Drawing the demo's world"
        script:
            "../scripts/make_demo_data.py"
