"""What schemathesis cannot know of the API under test: which names exist, and which headers HTTP can carry."""

import os
import random

import schemathesis

KNOWN = {
    "cluster": "shop",
    "user": "ann",
    "project": "default",
    "group": "default.postgresql15",
    "database": "shop",
    "credential": "keeper",
}
# What has an identifier that only the server knows, from whoever made it.
KNOWN.update({name.removeprefix("KNOWN_"): value for name, value in os.environ.items() if name.startswith("KNOWN_")})


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Half of the requests are about something that is there, or was until a generated request removed it."""
    if path_parameters and random.random() < 0.5:
        return {name: KNOWN.get(name, value) for name, value in path_parameters.items()}
    return path_parameters


@schemathesis.hook
def filter_headers(context, headers):
    """Control characters in a header are refused before any server of HTTP hands the request on."""
    headers = getattr(headers, "value", headers) or {}
    return all(" " <= letter <= "~" for value in headers.values() for letter in str(value))
