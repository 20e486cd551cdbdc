"""All commands."""

import typer

from refwfm.cli import audit, data, figures, generate, hostile, info, museum, predict, runs, train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Wasserstein Flow Matching: generative models over probability distributions.",
)
app.command()(figures.demo)
app.command()(train.train)
app.command()(generate.generate)
app.command()(runs.evaluate)
app.command()(predict.predict)
app.command()(figures.reproduce)
app.command()(audit.verify)
app.command()(audit.explain)
app.command()(museum.museum)
app.command()(hostile.hostile)
app.add_typer(data.app, name="data")
app.command()(info.info)
app.command()(info.bench)
