"""What `configure_optimizers` may return, and when schedulers step."""

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from lt_core.errors import MisconfigurationException
from lt_core.mock_optimizer import MockOptimizer
from lt_core.module import LightningModule
from lt_core.optimizer_setup import configure_optimizers
from lt_core.scheduler_config import LRSchedulerConfig
from lt_loops.optimization.schedulers import SchedulerStepper


class Model(LightningModule):
    def __init__(self, make):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.make = make

    def configure_optimizers(self):
        return self.make(self)


class OwnStepping(Model):
    def lr_scheduler_step(self, scheduler, metric):
        scheduler.advance()


class Unusual:
    """A scheduler that is not torch's."""

    def __init__(self, optimizer=None):
        if optimizer is not None:
            self.optimizer = optimizer
        self.advanced = 0

    def advance(self):
        self.advanced += 1

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def sgd(model):
    return SGD(model.parameters(), lr=1.0)


def step_lr(optimizer):
    return StepLR(optimizer, 1, gamma=0.5)


def plateau(optimizer):
    return ReduceLROnPlateau(optimizer, patience=0, factor=0.5)


def setup_of(make, *, automatic=True, kind=Model):
    return configure_optimizers(kind(make), automatic=automatic)


def pair(model):
    optimizer = sgd(model)
    return optimizer, step_lr(optimizer)


FORMS = {
    "an optimizer": sgd,
    "a list of one": lambda m: [sgd(m)],
    "a tuple of one": lambda m: (sgd(m),),
    "two lists": lambda m: [[(p := pair(m))[0]], [p[1]]],
    "two lists in a tuple": lambda m: ([(p := pair(m))[0]], [p[1]]),
    "a lone scheduler": lambda m: ([(p := pair(m))[0]], p[1]),
    "a tuple of schedulers": lambda m: ([(p := pair(m))[0]], (p[1],)),
    "scheduler dicts": lambda m: ([(p := pair(m))[0]], [{"scheduler": p[1], "interval": "step", "frequency": 2}]),
    "no scheduler": lambda m: ([sgd(m)], []),
    "a dict": lambda m: {"optimizer": sgd(m)},
    "a dict with a scheduler": lambda m: dict(zip(("optimizer", "lr_scheduler"), pair(m), strict=True)),
    "a dict with None": lambda m: {"optimizer": sgd(m), "lr_scheduler": None},
    "a list of one dict": lambda m: [dict(zip(("optimizer", "lr_scheduler"), pair(m), strict=True))],
}
WITHOUT_SCHEDULER = {"an optimizer", "a list of one", "a tuple of one", "no scheduler", "a dict", "a dict with None"}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_one_optimizer_and_its_scheduler(form):
    """The forms differ, what they mean does not."""
    setup = setup_of(FORMS[form])

    assert [type(optimizer) for optimizer in setup.optimizers] == [SGD]
    assert len(setup.schedulers) == (form not in WITHOUT_SCHEDULER)
    assert all(isinstance(config.scheduler, StepLR) for config in setup.schedulers)


def test_a_scheduler_dict_sets_when_it_steps():
    """The other settings are at their defaults."""
    config = setup_of(FORMS["scheduler dicts"]).schedulers[0]

    assert (config.interval, config.frequency, config.monitor, config.strict) == ("step", 2, None, True)
    assert config.reduce_on_plateau is False


@pytest.mark.parametrize("beside", [True, False])
def test_a_plateau_scheduler_takes_the_metric_named_for_it(beside):
    """In its own dict or beside it."""

    def make(model):
        optimizer = sgd(model)
        scheduler = plateau(optimizer)
        if beside:
            return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}

    config = setup_of(make).schedulers[0]

    assert config.reduce_on_plateau
    assert config.monitor == "val_loss"


def test_several_optimizers_are_for_manual_optimisation():
    """The error of the automatic one shows how to write it."""
    two = lambda m: [sgd(m), Adam(m.parameters())]  # noqa: E731

    assert len(setup_of(two, automatic=False).optimizers) == 2
    with pytest.raises(MisconfigurationException, match=r"optimizer_1, optimizer_2 = self.optimizers"):
        setup_of(two)


def test_no_optimizer_trains_nothing_and_says_so():
    """The one that stands in runs the closure and has nothing to save."""
    with pytest.warns(UserWarning, match="changes no weights"):
        setup = setup_of(lambda m: None)

    (optimizer,) = setup.optimizers
    assert isinstance(optimizer, MockOptimizer)
    assert optimizer.step(lambda: 3) == 3
    assert optimizer.state_dict() == {}


def test_an_optimizer_is_what_behaves_like_one():
    """It need not derive from torch's."""

    class Duck:
        param_groups = ()

        def step(self, closure=None):
            pass

        def zero_grad(self):
            pass

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    assert isinstance(setup_of(lambda m: Duck()).optimizers[0], Duck)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: "adam", r"returned 'adam', which has no known form.*Expected\s+one of"),
        (lambda m: Adam, r"This is a class: write `Adam\(self.parameters\(\)"),
        (lambda m: step_lr(sgd(m)), "This is a scheduler alone"),
        (lambda m: {"optimzer": sgd(m)}, 'no key "optimizer".*Did you mean `optimizer`'),
        (lambda m: {"optimizer": None}, "no known form"),
        (lambda m: [sgd(m), 3], "no known form"),
        (lambda m: ([sgd(m)], [StepLR(SGD(m.parameters(), lr=1), 1)]), "did not return: SGD"),
        (lambda m: ([sgd(m)], [object()]), "cannot be saved"),
        (lambda m: ([sgd(m)], [StepLR]), r"Write `StepLR\(optimizer"),
        (lambda m: ([sgd(m)], [Unusual()]), "def lr_scheduler_step"),
        (lambda m: ([sgd(m)], [{"interval": "step"}]), "and not `scheduler`"),
        (lambda m: ([(p := pair(m))[0]], [{"scheduler": p[1], "interval": "steps"}]), "Did you mean `step`"),
        (lambda m: ([(p := pair(m))[0]], [{"scheduler": p[1], "frequency": 0}]), '"frequency": 0. Expected'),
        (lambda m: ([(o := sgd(m))], [plateau(o)]), "no `monitor` names one"),
        (lambda m: ([(o := sgd(m))], [{"scheduler": plateau(o)}]), "no `monitor` names one"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown keys")
def test_what_cannot_be_used_is_an_error_that_helps(make, message):
    """The message says what to return."""
    with pytest.raises(MisconfigurationException, match=f"(?s){message}"):
        setup_of(make)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: {"optimizer": sgd(m), "lr_schedulers": 1}, "`lr_schedulers`.*Did you mean `lr_scheduler`"),
        (lambda m: ([(p := pair(m))[0]], [{"scheduler": p[1], "freq": 2}]), "`freq`; they have no effect"),
        (lambda m: ([(o := sgd(m))], [OneCycleLR(o, 1.0, 10)]), '"interval": "step"'),
    ],
)
def test_what_is_probably_a_mistake_is_warned_of(make, message):
    """And has no effect."""
    with pytest.warns(RuntimeWarning, match=message):
        setup = setup_of(make)

    assert len(setup.optimizers) == 1


def test_the_module_may_say_how_an_unusual_scheduler_steps():
    """Then it is no error, even without an optimizer of its own."""
    setup = setup_of(lambda m: ([sgd(m)], [Unusual()]), kind=OwnStepping)

    assert isinstance(setup.schedulers[0].scheduler, Unusual)


def test_in_manual_optimisation_the_settings_of_stepping_mean_nothing():
    """They are warned of; the interval stays, for monitors."""

    def make(model):
        optimizer = sgd(model)
        return [optimizer], [{"scheduler": plateau(optimizer), "monitor": "x", "interval": "step"}]

    with pytest.warns(RuntimeWarning, match=r"\['monitor'\].*lr_schedulers\(\).step"):
        setup = setup_of(make, automatic=False)

    assert setup.schedulers[0].monitor is None
    assert setup.schedulers[0].interval == "step"


# -- stepping


def stepper_of(*configs, overridden=None):
    return SchedulerStepper(list(configs), Model(sgd), overridden)


class Counter:
    """Notes with what it was stepped."""

    def __init__(self):
        self.steps = []

    def step(self, *args):
        self.steps.append(args)


def test_a_scheduler_steps_in_its_own_interval_only():
    """Each of the four kinds has its moment."""
    step, epoch, plateau_step, plateau_epoch = (Counter() for _ in range(4))
    stepper = stepper_of(
        LRSchedulerConfig(step, interval="step"),
        LRSchedulerConfig(epoch),
        LRSchedulerConfig(plateau_step, interval="step", reduce_on_plateau=True, monitor="loss"),
        LRSchedulerConfig(plateau_epoch, reduce_on_plateau=True, monitor="loss"),
    )

    stepper.on_window(0)
    assert [len(counter.steps) for counter in (step, epoch, plateau_step, plateau_epoch)] == [1, 0, 0, 0]
    stepper.on_last_batch(0)
    assert [len(counter.steps) for counter in (step, epoch, plateau_step, plateau_epoch)] == [1, 1, 0, 0]
    stepper.plateau_step(0, lambda: {"loss": 2.0})
    stepper.plateau_epoch(0, lambda: {"loss": 3.0})
    assert (plateau_step.steps, plateau_epoch.steps) == ([(2.0,)], [(3.0,)])
    assert stepper.has_step
    assert stepper.has_epoch
    assert stepper.has_plateau_step
    assert stepper.has_plateau_epoch


def test_without_schedulers_there_is_nothing_to_call():
    """The loop skips what is empty."""
    stepper = stepper_of()

    assert not any((stepper.has_step, stepper.has_epoch, stepper.has_plateau_step, stepper.has_plateau_epoch))


def test_the_frequency_leaves_out_batches_and_epochs():
    """Numbers are counted from one."""
    step, epoch = Counter(), Counter()
    stepper = stepper_of(LRSchedulerConfig(step, interval="step", frequency=3), LRSchedulerConfig(epoch, frequency=2))

    due = []
    for index in range(7):
        stepper.on_window(index)
        stepper.on_last_batch(index)
        due.append((len(step.steps), len(epoch.steps)))

    assert due == [(0, 0), (0, 1), (1, 1), (1, 2), (1, 2), (2, 3), (2, 3)]


def test_the_modules_own_stepping_is_called_instead():
    """With the scheduler and the metric."""
    calls = []
    counter = Counter()
    stepper = stepper_of(
        LRSchedulerConfig(counter, interval="step"),
        LRSchedulerConfig(counter, reduce_on_plateau=True, monitor="loss"),
        overridden=lambda scheduler, metric: calls.append((scheduler, metric)),
    )

    stepper.on_window(0)
    stepper.plateau_epoch(0, lambda: {"loss": 1.0})

    assert calls == [(counter, None), (counter, 1.0)]
    assert counter.steps == []


def test_a_metric_that_was_not_logged_is_an_error_that_lists_what_was():
    """The nearest name is suggested."""
    stepper = stepper_of(LRSchedulerConfig(Counter(), reduce_on_plateau=True, monitor="val_los"))

    with pytest.raises(MisconfigurationException, match=r"`val_los`.*`acc`, `val_loss`.*Did you mean `val_loss`"):
        stepper.plateau_epoch(0, lambda: {"val_loss": 1.0, "acc": 0.5})


def test_a_scheduler_that_is_not_strict_leaves_out_the_step():
    """With a warning."""
    counter = Counter()
    stepper = stepper_of(LRSchedulerConfig(counter, reduce_on_plateau=True, monitor="val_loss", strict=False))

    with pytest.warns(RuntimeWarning, match=r"Logged so far: nothing.*The step is left out"):
        stepper.plateau_epoch(0, dict)

    assert counter.steps == []


def test_metrics_are_asked_for_only_when_a_scheduler_is_due():
    """Reading them costs a copy from the device."""
    stepper = stepper_of(LRSchedulerConfig(Counter(), reduce_on_plateau=True, monitor="loss", frequency=2))

    def asked():
        raise AssertionError("nobody is due")

    stepper.plateau_epoch(0, asked)
    with pytest.raises(AssertionError):
        stepper.plateau_epoch(1, asked)
