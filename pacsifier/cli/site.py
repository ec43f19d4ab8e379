"""The options that say how a site's PACS is asked by TLS; also from a site file, named once for all runs."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common
from pacsifier.errors import InputError

if TYPE_CHECKING:
    from pacsifier.config import PacsConfig, Tls

log = logging.getLogger(__name__)

SITE_FROM_ENVIRONMENT = "PACSIFIER_SITE"
# The keys of the schema of a site file, which the help must not load.
KEYS = ("tls", "tls_ca", "tls_cert", "tls_key", "tls_name", "tls_plain_images")
_SOON_DAYS = 30


def add_tls_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--tls`, what belongs to it, and `--site`."""
    add = parser.add_argument_group("DICOM TLS (see docs/tls.md)").add_argument
    add(
        "--tls",
        action="store_true",
        help="Ask the PACS by TLS; its certificate is always verified. With --save the images come by TLS too",
    )
    add(
        "--tls_ca",
        type=Path,
        metavar="FILE_OR_DIR",
        help="The certificates that are trusted, in PEM: those of authorities, or the PACS's own, whatever its name "
        "(default: the authorities of this system)",
    )
    add(
        "--tls_cert",
        type=Path,
        metavar="FILE",
        help="Our own certificate in PEM, where the PACS demands one, and for images by C-MOVE, since the PACS then "
        "calls this machine",
    )
    add(
        "--tls_key",
        type=Path,
        metavar="FILE",
        help="Its private key in PEM, without a password, for your eyes only",
    )
    add(
        "--tls_name",
        type=_host,
        metavar="NAME",
        help="The name that the certificate of the PACS must have (default: server_address)",
    )
    add(
        "--tls_plain_images",
        action="store_true",
        help="Only what is asked goes by TLS: the PACS sends the images of C-MOVE unencrypted",
    )
    add(
        "--site",
        type=Path,
        metavar="FILE",
        help=f"A JSON file that gives these options for every run: {', '.join(KEYS)} (default: the file that the "
        f"environment variable {SITE_FROM_ENVIRONMENT} names, if any)",
    )


def _host(text: str) -> str:
    import re

    from pacsifier.config import SITE_SCHEMA

    rule = SITE_SCHEMA["properties"]["tls_name"]
    if not re.search(rule["pattern"], text) or len(text) > rule["maxLength"]:
        raise argparse.ArgumentTypeError(f"{rule['description']} is allowed")
    return text


def fill_from_site(arguments: argparse.Namespace) -> None:
    """Gives the options that were not given what the site file says; afterwards there is no site file any more.

    Raises:
        InputError: the file is faulty; or an option stands there alone that only `--tls` gives a meaning.
    """
    given = [name for name in KEYS if getattr(arguments, name)]
    named = arguments.site or os.environ.get(SITE_FROM_ENVIRONMENT)
    if named:
        from pacsifier.config import load_site

        for name, value in load_site(Path(named).absolute()).items():
            if name not in given:
                setattr(arguments, name, value)
    arguments.site = None
    if given and not arguments.tls:
        raise InputError(f"--{given[0]} is for --tls: without it nothing is encrypted")


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """What the options and the site file say; None: nothing is encrypted. The files are not looked at."""
    fill_from_site(arguments)
    if not arguments.tls:
        return None
    from pacsifier.config import Tls

    return Tls(
        ca=arguments.tls_ca,
        cert=arguments.tls_cert,
        key=arguments.tls_key,
        name=arguments.tls_name or "",
        plain_images=bool(arguments.tls_plain_images),
    )


def load_config(arguments: argparse.Namespace) -> PacsConfig:
    """The configuration, with TLS where that is asked for; raises InputError with every fault of all its files."""
    from pacsifier.config import load_pacs_config

    config, tls = common.read_all(
        lambda: load_pacs_config(arguments.config), lambda: _checked(tls_of(arguments))
    )
    return replace(config, tls=tls)


def _checked(tls: Tls | None) -> Tls | None:
    if tls is not None:
        from datetime import datetime, timezone

        from pacsifier.dcmtk.certificates import check_files
        from pacsifier.dcmtk.tls import told

        own = check_files(tls)
        if own and (remark := told(own.ends, datetime.now(timezone.utc), _SOON_DAYS)):
            log.warning("our own certificate (%s): %s", tls.cert, remark)
    return tls
