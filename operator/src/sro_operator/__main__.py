"""`python -m sro_operator`: run the operator until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import sys

from pydantic import ValidationError

from sro_operator import handlers, logs
from sro_operator.settings import PREFIX, OperatorSettings


def main() -> int:
    """Run; 2 if the environment cannot be used."""
    try:
        settings = OperatorSettings.from_environment(os.environ)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = f"{PREFIX}{'_'.join(str(part) for part in problem['loc'])}".upper()
            print(f"{name}: {problem['input']!r}: {problem['msg']}", file=sys.stderr)
        return 2
    logs.configure(settings.log_level)
    asyncio.run(handlers.operate(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
