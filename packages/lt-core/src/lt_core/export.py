"""Exports of a module for use without Python training code: ONNX and TorchScript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationValueError, MissingPackageError

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.module import LightningModule

__all__ = ["to_onnx", "to_tensorrt", "to_torchscript"]


def _sample(module: LightningModule, given: Any, method: str) -> Any:
    sample = module.example_input_array if given is None else given
    if sample is None:
        raise MisconfigurationValueError(
            f"`{method}` needs an input and got None. Expected a sample: pass it, or set `self.example_input_array`."
        )
    batch = module.on_before_batch_transfer(sample, 0)
    batch = module.transfer_batch_to_device(batch, module.device, 0)
    return module.on_after_batch_transfer(batch, 0)


def to_onnx(
    module: LightningModule, file_path: str | Path | None = None, input_sample: Any = None, **kwargs: Any
) -> Any:
    """Export a module with `torch.onnx.export`.

    The module keeps its mode: call ``module.eval()`` first for an export of evaluation behaviour.

    Args:
        module: What to export.
        file_path: Where to write the model.
        input_sample: A tensor or a tuple of arguments; by default ``example_input_array``.
        **kwargs: Passed to `torch.onnx.export`.

    Returns:
        What `torch.onnx.export` returns: a program with ``dynamo=True``, else None.

    Raises:
        MisconfigurationValueError: There is no sample.
        MissingPackageError: The package ``onnx`` is not installed.
    """
    from importlib.util import find_spec

    needed = ["onnx", "onnxscript"] if kwargs.get("dynamo") else ["onnx"]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"`to_onnx` needs {missing}, not installed here. Install with `pip install {' '.join(missing)}`."
        )
    sample = _sample(module, input_sample, "to_onnx(input_sample=…)")
    arguments = sample if isinstance(sample, (tuple, dict)) else (sample,)
    training = module.training
    with torch.no_grad():
        if isinstance(arguments, dict):
            program = torch.onnx.export(module, (), file_path, kwargs=arguments, **kwargs)
        else:
            program = torch.onnx.export(module, arguments, file_path, **kwargs)
    module.train(training)
    return program


def to_torchscript(
    module: LightningModule,
    file_path: str | Path | None = None,
    method: str | None = "script",
    example_inputs: Any = None,
    **kwargs: Any,
) -> Any:
    """Compile a module to TorchScript in evaluation mode.

    Args:
        module: What to export.
        file_path: Where to write it; None writes nothing.
        method: ``"script"`` or ``"trace"``.
        example_inputs: The input to trace with; by default ``example_input_array``.
        **kwargs: Passed to `torch.jit.script` or `torch.jit.trace`.

    Returns:
        The scripted or traced module.

    Raises:
        MisconfigurationValueError: The method is unknown, or there is nothing to trace with.
    """
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            if method == "script":
                exported = torch.jit.script(module, **kwargs)
            elif method == "trace":
                sample = _sample(module, example_inputs, "to_torchscript(example_inputs=…)")
                exported = torch.jit.trace(module, example_inputs=sample, **kwargs)  # type: ignore[no-untyped-call]
            else:
                raise MisconfigurationValueError(f"`to_torchscript(method={method!r})`: expected 'script' or 'trace'.")
    finally:
        for child, training in modes:
            child.training = training
    if file_path is not None:
        torch.jit.save(exported, str(file_path))
    return exported


def to_tensorrt(
    module: LightningModule,
    file_path: str | Path | None = None,
    input_sample: Any = None,
    ir: str = "default",
    output_format: str = "exported_program",
    **compile_kwargs: Any,
) -> Any:
    """Compile a module with TensorRT, on a CUDA device.

    Args:
        module: What to export.
        file_path: Where to write it; None writes nothing.
        input_sample: The input to compile for; by default ``example_input_array``.
        ir: The intermediate representation that `torch_tensorrt.compile` uses.
        output_format: What is written: ``"exported_program"``, ``"torchscript"`` or ``"aot_inductor"``.
        **compile_kwargs: Passed to `torch_tensorrt.compile`.

    Returns:
        The compiled module.

    Raises:
        MissingPackageError: The package ``torch_tensorrt`` is not installed.
        MisconfigurationValueError: There is no sample, or ``ir="ts"`` is to be written as anything but TorchScript.
    """
    from importlib.util import find_spec

    if ir == "ts" and file_path is not None and output_format != "torchscript":
        raise MisconfigurationValueError(
            f"`to_tensorrt(ir='ts', output_format={output_format!r})` cannot be written. Expected 'torchscript': pass "
            "`output_format='torchscript'`."
        )
    if find_spec("torch_tensorrt") is None:
        raise MissingPackageError(
            "`to_tensorrt` needs torch_tensorrt, not installed here. Install with `pip install torch-tensorrt`."
        )
    import torch_tensorrt

    sample = _sample(module, input_sample, "to_tensorrt(input_sample=…)")
    inputs = list(sample) if isinstance(sample, tuple) else [sample]
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            compiled = torch_tensorrt.compile(module, ir=ir, inputs=inputs, **compile_kwargs)
            if file_path is not None:
                torch_tensorrt.save(compiled, str(file_path), inputs=inputs, output_format=output_format)
    finally:
        module.train(training)
    return compiled
