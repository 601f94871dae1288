# The machine: what can't work on it is said before any job starts.

import re
import shutil

from snakemake.utils import available_cpu_count

from geoloc.locks import hold_while_running, interrupted

if workflow.is_main_process:
    # Snakemake writes the path of Python unquoted into the command of a job.
    if re.search(r"[\s\"'`$&;|<>()*?\[\]{}\\!#~]", sys.executable):
        raise WorkflowError(
            f"Python is at {sys.executable}, but Snakemake can't start jobs from a path with "
            "spaces, quotes or other characters of the shell; move the project and run make setup"
        )
    if {"{", "}"} & set(str(ROOT)):
        raise WorkflowError(
            f"the project is in {ROOT}, but Snakemake takes braces for wildcards; rename it"
        )


# Snakemake's lock does not say whose it is.
RUNNING, HELD = Path(f".snakemake/{config['run']}.running"), []
if workflow.is_main_process and "--unlock" not in sys.argv:
    if any(Path(".snakemake/locks").glob("*.lock")) and (told := interrupted(RUNNING)):
        print(told, file=sys.stderr)


# Snakemake has no public way to ask for this; without it, each job would fail.
if "apptainer" in map(str, workflow.deployment_settings.deployment_method):
    missing_images = [
        path
        for path in config["containers"].values()
        if "://" not in path and not Path(path).exists()
    ]
    if missing_images and workflow.is_main_process:
        raise WorkflowError(
            f"images are missing: {', '.join(missing_images)}; build them with "
            "`make containers`, or set their paths below containers in the configuration"
        )


if workflow.nodes is None and workflow.is_main_process:  # jobs run on this machine
    if workflow.resource_settings.cores is None:
        # Not in a profile: on a cluster, it would limit the threads of jobs to this node's cores.
        # Snakemake has no public way to set a default here.
        workflow.resource_settings.cores = available_cpu_count()
        workflow.register_resource("_cores", workflow.resource_settings.cores)
    if "gpu" not in workflow.global_resources and shutil.which("nvidia-smi"):
        # Otherwise, jobs that run at the same time would share the first GPU.
        workflow.register_resource("gpu", 1)
