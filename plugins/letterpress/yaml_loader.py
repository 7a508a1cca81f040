"""The loader for every YAML file of ours.

By libyaml where PyYAML has it, which is ten times as fast: Airflow reads the DAGs, and with them the files that they
are made of, again and again.
"""

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
