"""Modules and data modules made from checkpoints."""

import copy
import inspect
import io
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from lt_core.attribute_dict import AttributeDict
from lt_core.checkpoint_file import CheckpointNotFoundError, save_checkpoint_file
from lt_core.errors import (
    CheckpointError,
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
)
from lt_core.hparams import HyperparametersMixin
from lt_core.loading import class_only_method, load_datamodule
from lt_core.module import LightningModule

FILE = "a.ckpt"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test writes its file there."""
    monkeypatch.chdir(tmp_path)


class Net(LightningModule):
    def __init__(self, width: int, depth: int = 1, name: str = "net") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(width, depth)


class SubNet(Net):
    """Imported already, as a command line's class would be."""


class AnyNet(LightningModule):
    def __init__(self, width: int, **rest: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.rest = rest


class ConfigNet(LightningModule):
    def __init__(self, hparams: Any, extra: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.layer = nn.Linear(hparams.width, 1)
        self.received = hparams
        self.extra = extra


def save(module: nn.Module, **changes: Any) -> None:
    """Write what a trainer writes about a module; a change to None takes an entry out."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    if isinstance(module, HyperparametersMixin):
        checkpoint["hyper_parameters"] = dict(module.hparams)
        checkpoint["hparams_name"] = module.hparams_name
    checkpoint.update(changes)
    save_checkpoint_file({key: value for key, value in checkpoint.items() if value is not None}, FILE)


# ------------------------------------------------------------------------------------------------------- arguments


def test_module_comes_back_with_its_arguments_and_weights():
    """In training mode, ready to go on."""
    net = Net(3, depth=2)
    save(net)

    loaded = Net.load_from_checkpoint(FILE)

    assert dict(loaded.hparams) == {"width": 3, "depth": 2, "name": "net"}
    assert torch.equal(loaded.layer.weight, net.layer.weight)
    assert loaded.training


def test_open_file_is_read():
    """A buffer from anywhere, such as a download."""
    net = Net(3)
    save(net)

    loaded = Net.load_from_checkpoint(io.BytesIO(Path(FILE).read_bytes()))

    assert torch.equal(loaded.layer.weight, net.layer.weight)


def test_given_arguments_win_over_stored_ones():
    """And are the hyperparameters of the new object."""
    save(Net(3))

    loaded = Net.load_from_checkpoint(FILE, name="other")

    assert dict(loaded.hparams) == {"width": 3, "depth": 1, "name": "other"}


def test_stored_values_that_are_no_arguments_any_more_are_left_out():
    """Code moves on from its checkpoints."""
    net = Net(3)
    save(net, hyper_parameters={**net.hparams, "dropped_since": 1})

    assert "dropped_since" not in Net.load_from_checkpoint(FILE).hparams


@pytest.mark.filterwarnings("ignore:.*holds no weights")
def test_all_stored_values_are_given_to_an_init_that_takes_any():
    """`**kwargs` receive what has no name of its own."""
    save(AnyNet(3, a=1, b="x"))

    loaded = AnyNet.load_from_checkpoint(FILE, c=2)

    assert loaded.rest == {"a": 1, "b": "x", "c": 2}


def test_given_argument_that_init_does_not_take_is_an_error_with_the_nearest():
    """A misspelled override would go unnoticed."""
    save(Net(3))

    with pytest.raises(
        MisconfigurationTypeError, match=r"'widht'.*\['depth', 'name', 'width'\].*Did you mean `width`\?"
    ):
        Net.load_from_checkpoint(FILE, widht=4)


def test_argument_that_is_neither_stored_nor_given_is_an_error_with_the_line_to_write():
    """The checkpoint has no hyperparameters."""
    net = Net(3)
    save(net, hyper_parameters=None, hparams_name=None)

    with pytest.raises(MisconfigurationTypeError, match=r"Write `Net\.load_from_checkpoint\(path, width=\.\.\.\)`"):
        Net.load_from_checkpoint(FILE)
    assert torch.equal(Net.load_from_checkpoint(FILE, width=3).layer.weight, net.layer.weight)


@pytest.mark.parametrize("kind", [Namespace, AttributeDict])
def test_init_that_takes_one_mapping_gets_it_whole_with_attribute_access(kind):
    """The argument's name is in the file."""
    net = ConfigNet(kind(width=3, lr=0.1))
    save(net)

    loaded = ConfigNet.load_from_checkpoint(FILE)

    assert loaded.received.lr == loaded.received["lr"] == 0.1
    assert torch.equal(loaded.layer.weight, net.layer.weight)


def test_entries_of_the_one_mapping_and_other_arguments_can_be_given():
    """Each goes where it belongs."""
    save(ConfigNet(Namespace(width=3, lr=0.1)))

    loaded = ConfigNet.load_from_checkpoint(FILE, lr=0.5, extra=7)

    assert dict(loaded.received) == {"width": 3, "lr": 0.5}
    assert loaded.extra == 7


def test_one_mapping_can_be_given_whole():
    """Then the stored one is not used."""
    save(ConfigNet(Namespace(width=3, lr=0.1)))
    given = Namespace(width=3, lr=9)

    assert ConfigNet.load_from_checkpoint(FILE, hparams=given).received is given


def test_container_type_that_is_stored_is_restored():
    """As for OmegaConf; the class has to be accepted by the reader."""
    save(ConfigNet(AttributeDict(width=3)), hparams_type=AttributeDict)

    loaded = ConfigNet.load_from_checkpoint(FILE, weights_only=False)

    assert type(loaded.received) is AttributeDict


@pytest.mark.parametrize("key", ["hparams", "module_arguments"])
def test_hyperparameters_under_their_earliest_names_are_understood(key):
    """Files of 0.7; what is stored under the present name wins."""
    save(Net(3), hyper_parameters={"name": "new"}, hparams_name="kwargs", **{key: {"width": 3, "name": "old"}})

    loaded = Net.load_from_checkpoint(FILE)

    assert dict(loaded.hparams) == {"width": 3, "depth": 1, "name": "new"}


def test_hyperparameters_can_come_from_a_file():
    """It replaces the stored ones; given arguments win over it."""
    save(Net(3, depth=2), hyper_parameters={"width": 99})
    Path("hparams.csv").write_text("key,value\nwidth,3\ndepth,2\nname,file\n")

    assert Net.load_from_checkpoint(FILE, hparams_file="hparams.csv").hparams.name == "file"
    assert Net.load_from_checkpoint(FILE, hparams_file="hparams.csv", name="given").hparams.name == "given"


def test_hyperparameters_can_come_from_a_yaml_file():
    """As loggers write it."""
    pytest.importorskip("yaml")
    save(Net(3), hyper_parameters=None, hparams_name=None)
    Path("hparams.yaml").write_text("width: 3\nname: file\n")

    assert Net.load_from_checkpoint(FILE, hparams_file="hparams.yaml").hparams.name == "file"


# ------------------------------------------------------------------------------- what a command line stored about it

CLI = "lightning.pytorch.cli.instantiate_module"


@pytest.mark.filterwarnings("ignore:.*holds no weights")
def test_plain_values_of_a_command_line_are_used():
    """The markers are no arguments."""
    save(AnyNet(3), hyper_parameters={"width": 3, "_instantiator": CLI})

    assert AnyNet.load_from_checkpoint(FILE).rest == {}


def test_class_that_a_command_line_noted_is_made():
    """If it is imported already and a subclass."""
    save(Net(3), hyper_parameters={"width": 3, "_instantiator": CLI, "_class_path": f"{__name__}.SubNet"})

    assert type(Net.load_from_checkpoint(FILE)) is SubNet


@pytest.mark.parametrize(
    "path", ["os.system", "subprocess.Popen", "antigravity.fly", "lt_core.module.LightningModule", 3]
)
def test_class_that_is_not_imported_or_no_subclass_is_refused(path):
    """A file does not choose what code is run; nothing is imported to find out."""
    save(Net(3), hyper_parameters={"width": 3, "_instantiator": CLI, "_class_path": path})

    with pytest.raises(MisconfigurationValueError, match=r"asks for the class .*import the module that defines"):
        Net.load_from_checkpoint(FILE)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("instantiator", ["os.system", 5, "lightning.pytorch.cli.other"])
def test_other_function_to_make_the_module_is_refused(instantiator):
    """Only the command line's own is known."""
    save(Net(3), hyper_parameters={"width": 3, "_instantiator": instantiator})

    with pytest.raises(MisconfigurationValueError, match="asks for the function"):
        Net.load_from_checkpoint(FILE)


def test_object_that_a_command_line_described_by_its_class_has_to_be_given():
    """A dictionary in its place would fail much later."""
    described = {"class_path": "torch.nn.ReLU", "init_args": {}}
    save(AnyNet(3), hyper_parameters={"width": 3, "act": described, "_instantiator": CLI})

    with pytest.raises(MisconfigurationException, match=r"'act' by its class 'torch\.nn\.ReLU'.*\(path, act=\.\.\.\)"):
        AnyNet.load_from_checkpoint(FILE)


# --------------------------------------------------------------------------------------------------------- weights


class HookNet(LightningModule):
    """Makes its layer late and keeps what the hook saw."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.calls: list[str] = []

    def configure_model(self) -> None:
        self.calls.append("configure_model")
        self.layer = nn.Linear(self.hparams.width, 1)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.calls.append("on_load_checkpoint")
        self.seen = checkpoint
        checkpoint["state_dict"] = {key.removeprefix("old."): value for key, value in checkpoint["state_dict"].items()}


def test_model_is_configured_then_the_hook_called_then_weights_loaded():
    """The hook may change what is loaded, and sees the hyperparameters in use."""
    weights = nn.Linear(4, 1).state_dict()
    save(HookNet(), state_dict={f"old.layer.{key}": value for key, value in weights.items()})

    loaded = HookNet.load_from_checkpoint(FILE, width=4)

    assert loaded.calls == ["configure_model", "on_load_checkpoint"]
    assert torch.equal(loaded.layer.weight, weights["weight"])
    assert loaded.seen["hyper_parameters"] == {"width": 4}


def test_different_weights_are_an_error_by_default_and_a_warning_when_not_strict():
    """Both directions are named."""
    net = Net(3)
    state = net.state_dict()
    save(net, state_dict={"layer.bias": state["layer.bias"], "gone": torch.zeros(1)})

    with pytest.raises(RuntimeError, match=r'Missing key\(s\).*"layer\.weight"'):
        Net.load_from_checkpoint(FILE)
    with pytest.warns(UserWarning, match="These weights of") as caught:
        loaded = Net.load_from_checkpoint(FILE, strict=False)

    assert torch.equal(loaded.layer.bias, state["layer.bias"])
    assert [str(warning.message).partition(":")[2].strip() for warning in caught] == ["['layer.weight']", "['gone']"]


class LooseNet(Net):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.strict_loading = False


def test_module_decides_how_strict_loading_is_and_contradiction_is_an_error():
    """What the class says holds unless the caller says the same or nothing."""
    net = LooseNet(3)
    save(net, state_dict={**net.state_dict(), "gone": torch.zeros(1)})

    with pytest.warns(UserWarning, match=r"\['gone'\]"):
        LooseNet.load_from_checkpoint(FILE)
    with pytest.raises(MisconfigurationValueError, match=r"strict=True, and LooseNet\.strict_loading is False"):
        LooseNet.load_from_checkpoint(FILE, strict=True)


@pytest.mark.filterwarnings("ignore:These weights of")
def test_module_goes_to_the_device_of_its_weights():
    """`map_location` decides where that is; here the one that needs no hardware."""
    save(Net(3))

    loaded = AnyNet.load_from_checkpoint(FILE, map_location="meta", strict=False)

    assert loaded.device == torch.device("meta")


def test_file_without_weights_is_said():
    """The module has its initial ones then, which is rarely meant."""
    save(AnyNet(3))

    with pytest.warns(UserWarning, match=r"'a\.ckpt' holds no weights"):
        AnyNet.load_from_checkpoint(FILE)


# ------------------------------------------------------------------------------------------------------------ errors


def test_missing_file_is_an_error_that_names_the_others():
    """From the reader of the file."""
    save(Net(3))

    with pytest.raises(CheckpointNotFoundError, match=r"there are a\.ckpt"):
        Net.load_from_checkpoint("b.ckpt")


def test_bare_state_dict_is_an_error_with_the_line_to_write():
    """A file of `torch.save(model.state_dict())`."""
    save_checkpoint_file(Net(3).state_dict(), FILE)

    with pytest.raises(CheckpointError, match=r"entries \['layer\.bias', 'layer\.weight'\].*model\.load_state_dict"):
        Net.load_from_checkpoint(FILE, width=3)


def test_values_that_are_not_safe_need_an_explicit_word():
    """The error names the class and the word."""
    save(Net(3), hyper_parameters={"width": 3, "name": Path("x")})

    with pytest.raises(CheckpointError, match=r"Path.*weights_only=False"):
        Net.load_from_checkpoint(FILE)
    assert Net.load_from_checkpoint(FILE, weights_only=False).hparams.name == Path("x")


def test_call_on_an_instance_is_an_error_with_the_line_to_write():
    """It would leave the instance as it is; the attribute itself can be read."""
    net = Net(3)
    save(net)

    with pytest.raises(TypeError, match=r"instance of Net.*Write `model = Net\.load_from_checkpoint\(\.\.\.\)`"):
        net.load_from_checkpoint(FILE)
    assert "checkpoint_path" in inspect.signature(Net.load_from_checkpoint).parameters
    assert net.load_from_checkpoint.__name__ == "load_from_checkpoint"
    assert isinstance(copy.deepcopy(net), Net)


def test_class_only_method_is_inherited_and_bound_to_the_class_it_is_called_on():
    """Like a classmethod."""

    class Parent:
        @class_only_method
        def make(cls) -> str:  # noqa: N805 - bound to the class by the decorator
            return cls.__name__

    class Child(Parent):
        pass

    assert Child.make() == "Child"
    with pytest.raises(TypeError, match=r"instance of Child"):
        Child().make()


def test_file_from_another_process_is_loaded_with_the_same_numbers():
    """Nothing of the writing process is needed but the class."""
    net = Net(3)
    save(net)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from {Path(__file__).stem} import Net\n"
        f"print(Net.load_from_checkpoint('a.ckpt').layer.weight.tolist())"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == str(net.layer.weight.tolist())


# ----------------------------------------------------------------------------------------------------- data modules


class Data(HyperparametersMixin):
    CHECKPOINT_HYPER_PARAMS_KEY: ClassVar[str] = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME: ClassVar[str] = "datamodule_hparams_name"
    CHECKPOINT_HYPER_PARAMS_TYPE: ClassVar[str] = "datamodule_hparams_type"

    def __init__(self, batch_size: int = 1) -> None:
        self.save_hyperparameters()
        self.state: dict[str, Any] = {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def test_data_module_comes_back_with_its_arguments_and_state():
    """Its entries stand beside those of the module."""
    save(Net(3), datamodule_hyper_parameters={"batch_size": 32}, datamodule_hparams_name="kwargs", Data={"seen": 5})

    loaded = load_datamodule(Data, FILE)

    assert loaded.hparams.batch_size == 32
    assert loaded.state == {"seen": 5}
    assert load_datamodule(Data, FILE, batch_size=8).hparams.batch_size == 8


def test_data_module_without_stored_state_is_made_from_its_arguments():
    """The module's own hyperparameters are not its."""
    save(Net(3))

    loaded = load_datamodule(Data, FILE)

    assert dict(loaded.hparams) == {"batch_size": 1}
    assert loaded.state == {}
