"""The command `scanline doctor`."""

from __future__ import annotations

import click

from scanline.cli.output import print_json, print_text, shown_name


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(as_json: bool) -> None:
    """Show versions, processor, the native library and its kernels."""
    from scanline.device import choose_device
    from scanline.training.environment import describe

    machine = describe(choose_device("auto"))
    tree = machine.to_json()
    if as_json:
        print_json(tree)
        return
    native = machine.native
    lines = {name: str(value) for name, value in tree.items() if name not in ("native", "packages")}
    packages = machine.packages.items()
    lines["packages"] = ", ".join(f"{name} {version}" for name, version in packages if version)
    if native.found:
        # A precision without a native kernel is computed in float32.
        kernels = [
            f"{name}: {kernel or 'none, computed as float32'}" for name, kernel in native.kernels.items()
        ]
        lines["layers"] = f"native library; {'; '.join(kernels)}"
        lines["threads"] = native.threads
        lines["backends"] = "; ".join(
            f"{name}: {', '.join(all_) or 'none'}" for name, all_ in native.choices.items()
        )
    else:
        lines["layers"] = f"computed by torch, which is slower; native library not used: {native.why}"
    width = max(map(len, lines))
    for name, line in lines.items():
        print_text(f"{name:<{width}}  {shown_name(line)}")
