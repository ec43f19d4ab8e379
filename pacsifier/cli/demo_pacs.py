"""The command `pacsifier-demo-pacs`: a synthetic hospital behind a real PACS server, to try pacsifier on."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pacsifier.cli import common
from pacsifier.cli.parser import Parser
from pacsifier.figures import counted

_PROG = "pacsifier-demo-pacs"

_EXAMPLES = """examples:
  pacsifier-demo-pacs --directory demo-pacs
      serve the synthetic hospital on port 11112 until Ctrl-C; in another terminal, in the same folder:
  pacsifier --save --info --config demo-pacs/config.json --queryfile demo-pacs/query.csv --out_directory images
      bring its images to disk
  pacsifier-demo-pacs --port 11200 --move_port 11201
      where another program has the usual ports

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Make a small synthetic hospital and serve it by DCMTK's dcmqrscp until interrupted (Ctrl-C). "
        "A matching config.json and query.csv are written into the directory.",
        epilog=_EXAMPLES + common.exit_statuses(common.EXIT_TOOL),
    )
    add = parser.add_argument_group("what is served, and where").add_argument
    add("--port", type=_port, default=11112, metavar="N", help="Port to serve on (default: 11112)")
    add(
        "--move_port",
        type=_port,
        default=11113,
        metavar="N",
        help="Port on which pacsifier will receive images (default: 11113)",
    )
    add(
        "--directory",
        type=Path,
        default=Path("./demo-pacs"),
        metavar="DIR",
        help='Where the archive, config.json and query.csv go (default: "./demo-pacs")',
    )
    add("--dcmtk_dir", type=Path, metavar="DIR", help="Folder of DCMTK's binaries (default: on PATH)")
    common.add_common_arguments(parser)
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port from 1 to 65535 is allowed")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    if arguments.port == arguments.move_port:
        parser.error("--port and --move_port must differ")
    common.set_up_logging(0)
    return common.run(lambda: _serve(arguments), _PROG, arguments=arguments)


def _serve(arguments: argparse.Namespace) -> int:
    from pacsifier.dcmtk.dcmqrscp import AE_TITLE, DemoPacs, Peer
    from pacsifier.dcmtk.storescp import check_port
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.demo import COMPRESSED_CLASSES, DEMO_QUERY, make_hospital

    peers = [
        Peer("PACSIFIER", "127.0.0.1", arguments.move_port),
        Peer("OTHER", "127.0.0.1", arguments.move_port),
    ]
    with Toolbox(arguments.dcmtk_dir) as toolbox:
        common.on_signals(toolbox.kill)
        toolbox.require(["dcmqrscp", "dcmqridx"])
        check_port(arguments.port, "--port")
        folder = _prepare(arguments.directory)
        files = make_hospital(folder / "hospital")
        pacs = DemoPacs(toolbox, folder, arguments.port, peers, syntaxes=COMPRESSED_CLASSES)
        pacs.fill(files)
        with pacs:
            config = _config(arguments, AE_TITLE)
            (folder / "config.json").write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
            (folder / "query.csv").write_text(DEMO_QUERY, encoding="utf-8")
            _print_how_to(folder, len(files), arguments.port)
            pacs.serve()
    return common.EXIT_COMPLETE


def _prepare(folder: Path) -> Path:
    from pacsifier.errors import InputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    return folder


def _config(arguments: argparse.Namespace, ae_title: str) -> dict[str, str | int]:
    return {
        "server_address": "127.0.0.1",
        "port": arguments.port,
        "server_AET": ae_title,
        "AET": "PACSIFIER",
        "move_AET": "OTHER",
        "move_port": arguments.move_port,
        "batch_size": 30,
        "batch_wait_time": 0,
    }


def _print_how_to(folder: Path, instances: int, port: int) -> None:
    def path(name: str) -> str:
        return shlex.quote(str(folder.absolute() / name))

    options = f"--config {path('config.json')} --queryfile {path('query.csv')}"
    print(
        f"The demo PACS is ready: {counted(instances, 'instance')} on port {port}. In another terminal, try\n"
        f"  pacsifier --info {options} --out_directory {path('list')}\n"
        f"  pacsifier --save --info {options} --out_directory {path('images')}\n"
        f"This PACS tells neither SeriesDescription nor ProtocolName, as some do: --info alone leaves the two rows\n"
        f"that ask for them undecided (exit status 1), --save decides them by the images. Ctrl-C ends it.",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
