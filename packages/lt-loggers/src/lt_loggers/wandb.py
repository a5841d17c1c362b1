"""Metrics, media, tables and checkpoints on Weights & Biases, online or kept locally for ``wandb sync``."""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import convert_params, flatten_dict, sanitize_params
from lt_core.rank_zero import rank_zero_only, rank_zero_warn
from lt_loggers.checkpoint_scan import SavedCheckpoint, checkpoint_settings, keeps_all, new_checkpoints
from lt_loggers.remote_run import RemoteRunLogger, require_package

if TYPE_CHECKING:
    from argparse import Namespace

    from torch import nn

    from lt_loggers.write_retry import OnFailure

__all__ = ["WandbLogger"]

_STEP = "trainer/global_step"
_ID_LETTERS = string.ascii_lowercase + string.digits


class WandbLogger(RemoteRunLogger):
    """Log to a run of Weights & Biases.

    The run begins when :attr:`experiment` is first looked at, which a trainer does before ``setup``. It goes on over
    several fits and tests and ends with the process or with ``wandb.finish()``. Where the server does not answer when
    the run begins, the run is kept locally, which is said once with the ``wandb sync`` that uploads it later.

    Args:
        name: What the run is called; None for a name that the server makes.
        save_dir: The folder for wandb's files.
        version: The run's id, to go on with a run.
        offline: Keep the run in ``save_dir``; upload it later with ``wandb sync``.
        dir: The same as ``save_dir``, as ``wandb.init`` calls it.
        id: The same as ``version``, as ``wandb.init`` calls it.
        anonymous: Log without an account, if this release of wandb can.
        project: The project; None for the environment's ``WANDB_PROJECT``, else ``lightning_logs``.
        log_model: Upload checkpoints as artifacts: True those that are there when a fit has succeeded, ``"all"`` each
            one when it is written.
        experiment: A run that was begun with ``wandb.init``.
        prefix: What comes before each metric's name, joined with ``-``; ``""`` for nothing.
        checkpoint_name: What artifacts of checkpoints are called; None for ``model-<run id>``.
        add_file_policy: ``"mutable"`` uploads a copy of a checkpoint, ``"immutable"`` the file itself, which must then
            not be changed.
        on_failure: Where wandb does not take rows: ``"warn"`` says so once and keeps them, ``"raise"`` ends the run.
        kwargs: Further arguments of ``wandb.init``, such as ``entity``, ``group``, ``tags``, ``mode``.

    Raises:
        MissingPackageError: wandb is not installed.
        MisconfigurationException: ``log_model`` needs a server and ``offline`` is on.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        name: str | None = None,
        save_dir: str | os.PathLike[str] = ".",
        version: str | None = None,
        offline: bool = False,  # noqa: FBT001, FBT002 - existing code passes it by position
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the name that wandb gives it
        id: str | None = None,  # noqa: A002 - the name that wandb gives it
        anonymous: bool | None = None,  # noqa: FBT001 - existing code passes it by position
        project: str | None = None,
        log_model: Literal["all"] | bool = False,  # noqa: FBT001, FBT002 - existing code passes it by position
        experiment: Any = None,
        prefix: str = "",
        checkpoint_name: str | None = None,
        add_file_policy: Literal["mutable", "immutable"] = "mutable",
        *,
        on_failure: OnFailure = "warn",
        **kwargs: Any,
    ) -> None:
        require_package("wandb", "WandbLogger", "wandb")
        super().__init__(prefix, on_failure)
        if offline and log_model:
            raise MisconfigurationException(
                f"WandbLogger got offline={offline!r} and log_model={log_model!r}. Checkpoints go to a server."
                " Leave out one of the two."
            )
        if log_model not in (True, False, "all"):
            raise MisconfigurationValueError(
                f"WandbLogger got log_model={log_model!r}. Expected True, False or 'all'. Pass one of them."
            )
        self._save_dir = os.fspath(save_dir if dir is None else dir)
        self._id = version or id or os.environ.get("WANDB_RUN_ID")
        self._project = project or os.environ.get("WANDB_PROJECT") or "lightning_logs"
        self._log_model = log_model
        self._checkpoint_name = checkpoint_name
        self._add_file_policy = add_file_policy
        self._checkpoint_callback: Any = None
        self._experiment = experiment
        self._init: dict[str, Any] = {"name": name, "resume": "allow"}
        if offline:
            self._init["mode"] = "offline"
        if anonymous is not None:
            self._init["anonymous"] = "allow" if anonymous else "never"
        self._init.update(kwargs)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``wandb.Run``. The first look begins it."""
        if self._experiment is None:
            import wandb

            if wandb.run is not None:
                rank_zero_warn(
                    f"The wandb run {wandb.run.id!r} is open already, and this logger goes on with it. A process has"
                    " one run at a time. Call `wandb.finish()` before for a new one."
                )
                self._experiment = wandb.run
            else:
                self._experiment = self._begin()
            if not self._experiment.settings.sync_tensorboard:
                self._experiment.define_metric(_STEP)
                self._experiment.define_metric("*", step_metric=_STEP, step_sync=True)
        return self._experiment

    @property
    def save_dir(self) -> str:
        """The folder for wandb's files."""
        return self._save_dir

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str | None:
        """The run's id; None on other processes than the first, unless it was given."""
        if self._experiment is not None:
            return str(self._experiment.id)
        if self._id is None and rank_zero_only.rank == 0:
            run = getattr(sys.modules.get("wandb"), "run", None)
            # An id of our own, so that the place of the run is known before it begins.
            import secrets

            self._id = str(run.id) if run is not None else "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
        return self._id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record one row.

        Args:
            metrics: Numbers, or whatever else ``wandb.Run.log`` takes, by name.
            step: The row's place on the x-axis ``trainer/global_step``; None for wandb's own count.
        """
        row = self._numbers(metrics, others=True)
        if step is not None and not self.experiment.settings.sync_tensorboard:
            row[_STEP] = step
        self._post("row", row)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:
        """Put hyperparameters into the run's configuration.

        Args:
            params: Values by name, nestings allowed; what is no number or text is written as text.
        """
        self._post("config", _plain(convert_params(params)))

    @rank_zero_only
    def watch(
        self,
        model: nn.Module,
        log: Literal["gradients", "parameters", "all"] | None = "gradients",
        log_freq: int = 100,
        log_graph: bool = True,  # noqa: FBT001, FBT002 - existing code passes it by position
    ) -> None:
        """Record histograms of a model's gradients or parameters.

        Args:
            model: The model.
            log: Which.
            log_freq: How many batches lie between two.
            log_graph: Record the graph, too.
        """
        self.experiment.watch(model, log=log, log_freq=log_freq, log_graph=log_graph)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: list[str | int] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record a table.

        Args:
            key: Its name.
            columns: The names of its columns, with ``data``.
            data: Its rows.
            dataframe: A pandas frame in place of both.
            step: Where on the x-axis it belongs.
        """
        import wandb

        self.log_metrics({key: wandb.Table(columns=columns, data=data, dataframe=dataframe)}, step)

    @rank_zero_only
    def log_text(
        self,
        key: str,
        columns: list[str | int] | None = None,
        data: list[list[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record text as a table; the arguments are those of :meth:`log_table`."""
        self.log_table(key, columns, data, dataframe, step)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record images.

        Args:
            key: Their name.
            images: Tensors, arrays, PIL images or paths.
            step: Where on the x-axis they belong.
            kwargs: Arguments of ``wandb.Image``, a list with one value for each image: ``caption=["cat", "dog"]``.
        """
        self._log_media("Image", key, images, step, kwargs)

    @rank_zero_only
    def log_audio(self, key: str, audios: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record sounds; the arguments are those of :meth:`log_image`, ``kwargs`` go to ``wandb.Audio``."""
        self._log_media("Audio", key, audios, step, kwargs)

    @rank_zero_only
    def log_video(self, key: str, videos: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record videos; the arguments are those of :meth:`log_image`, ``kwargs`` go to ``wandb.Video``."""
        self._log_media("Video", key, videos, step, kwargs)

    @staticmethod
    @rank_zero_only
    def download_artifact(
        artifact: str,
        save_dir: str | os.PathLike[str] | None = None,
        artifact_type: str | None = None,
        use_artifact: bool | None = True,  # noqa: FBT001, FBT002 - existing code passes it by position
    ) -> str:
        """Download an artifact.

        Args:
            artifact: Its name with its version or alias, like ``model-abc:best``.
            save_dir: Where to; None for wandb's folder of artifacts.
            artifact_type: Its type, to make sure.
            use_artifact: Note it as an input of the running run, if there is one.

        Returns:
            The folder with its files.
        """
        import wandb

        if wandb.run is not None and use_artifact:
            found = wandb.run.use_artifact(artifact, type=artifact_type)
        else:
            found = wandb.Api().artifact(artifact, type=artifact_type)
        return str(found.download(root=None if save_dir is None else os.fspath(save_dir)))

    @rank_zero_only
    def use_artifact(self, artifact: str, artifact_type: str | None = None) -> Any:
        """Note an artifact as an input of the run and return it.

        Args:
            artifact: Its name with its version or alias.
            artifact_type: Its type, to make sure.
        """
        return self.experiment.use_artifact(artifact, type=artifact_type)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload new checkpoints now, or remember to do so at the end, as ``log_model`` says."""
        if keeps_all(checkpoint_callback, self._log_model):
            self._upload(checkpoint_callback)
        elif self._log_model is True:
            self._checkpoint_callback = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload the checkpoints that are there, after a success, and see that wandb has all rows."""
        if status == "success" and self._checkpoint_callback is not None:
            self._upload(self._checkpoint_callback)
        super().finalize(status)

    def __getstate__(self) -> dict[str, Any]:
        identity = self.version  # a copy in another process goes on with this run
        return {**super().__getstate__(), "_id": identity, "_checkpoint_callback": None}

    def _begin(self) -> Any:
        import wandb

        os.makedirs(self._save_dir, exist_ok=True)
        arguments = {"project": self._project, "dir": self._save_dir, "id": self.version, **self._init}
        try:
            return wandb.init(**arguments)
        except wandb.errors.CommError as error:
            if self._on_failure == "raise":
                raise
            wandb.teardown()  # its service holds the id of the run that it could not begin
            run = wandb.init(**{**arguments, "mode": "offline"})
            rank_zero_warn(
                f"The server of wandb does not answer: {error}. The run is kept in {os.path.dirname(run.dir)}."
                f" Upload it with `wandb sync {os.path.dirname(run.dir)}`."
            )
            return run

    def _send(self, kind: str, items: list[Any]) -> None:
        import wandb

        run = self.experiment
        try:
            for item in items:
                if kind == "row":
                    run.log(item)
                elif kind == "config":
                    run.config.update(item, allow_val_change=True)
        except wandb.errors.UsageError:
            if wandb.run is not run:  # it was finished: the next try goes on with it
                self._experiment = None
            raise

    def _errors(self) -> tuple[type[BaseException], ...]:
        import wandb

        return (wandb.errors.Error, OSError)

    def _target(self) -> str:
        return f"wandb's run {self.version}"

    def _log_media(self, kind: str, key: str, media: Any, step: int | None, kwargs: dict[str, Sequence[Any]]) -> None:
        import wandb

        if not isinstance(media, list):
            raise MisconfigurationTypeError(
                f"WandbLogger.log_{kind.lower()} got {type(media).__name__} for {key!r}. Expected a list, also of one:"
                f" write `log_{kind.lower()}({key!r}, [...])`."
            )
        for name, values in kwargs.items():
            if len(values) != len(media):
                raise MisconfigurationValueError(
                    f"WandbLogger.log_{kind.lower()} got {len(media)} items and {len(values)} values of {name!r}."
                    " Expected one value for each item: pass a list of the same length."
                )
        make = getattr(wandb, kind)
        made = [make(item, **{name: values[n] for name, values in kwargs.items()}) for n, item in enumerate(media)]
        self.log_metrics({key: made}, step)

    @rank_zero_only
    def _upload(self, callback: Any) -> None:
        for checkpoint in new_checkpoints(callback, self._known_checkpoints):
            self._upload_one(checkpoint, checkpoint_settings(callback))

    def _upload_one(self, checkpoint: SavedCheckpoint, settings: dict[str, Any]) -> None:
        import wandb

        metadata = {
            "score": checkpoint.score,
            "original_filename": os.path.basename(checkpoint.path),
            "ModelCheckpoint": settings,
        }
        name = self._checkpoint_name or f"model-{self.experiment.id}"
        artifact = wandb.Artifact(name=name, type="model", metadata=metadata)
        if os.path.isdir(checkpoint.path):
            artifact.add_dir(checkpoint.path, name="model.ckpt")
        else:
            artifact.add_file(checkpoint.path, name="model.ckpt", policy=self._add_file_policy)
        aliases = ["latest", "best"] if checkpoint.tag == "best" else ["latest"]
        self.experiment.log_artifact(artifact, aliases=aliases)


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested parameters with plain leaves, nested as they were: wandb flattens them itself."""
    plain: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, (list, tuple)) and all(isinstance(item, (bool, int, float, str)) for item in value):
            plain[str(name)] = list(value)
        elif isinstance(value, Mapping):
            plain[str(name)] = _plain(value)
        elif value is None:
            plain[str(name)] = None
        else:
            plain.update(_leaf(str(name), value))
    return plain


def _leaf(name: str, value: Any) -> dict[str, Any]:
    flat = sanitize_params(flatten_dict({name: value}))
    return {key: item if isinstance(item, (bool, int, float, str)) else str(item) for key, item in flat.items()}
