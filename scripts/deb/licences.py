"""Lists the Python packages in a folder with their licences, for the Debian package's copyright file."""

import sys
from importlib.metadata import Distribution, distributions


def licence(of: Distribution) -> str:
    """Give the licence as the package names it: an expression, a line of text, or classifiers."""
    told = (
        of.metadata.get("License-Expression") or (of.metadata.get("License") or "").strip().partition("\n")[0]
    )
    named = [
        line.rpartition(" :: ")[2]
        for line in of.metadata.get_all("Classifier") or ()
        if line.startswith("License")
    ]
    return told or ", ".join(named) or "see its folder"


for package in sorted(distributions(path=[sys.argv[1]]), key=lambda each: each.metadata["Name"].lower()):
    sys.stdout.write(f"{package.metadata['Name']} {package.version}: {licence(package)}\n")
