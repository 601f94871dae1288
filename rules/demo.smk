# The generated world of the demo, in the raw layouts of the real sources.

if config["demo"]:

    rule make_demo_data:
        output:
            geoguessr=directory(FOLDERS["geoguessr"]),
            streetview=directory(FOLDERS["streetview"]),
            im2gps3k=directory(FOLDERS["im2gps3k"]),
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
