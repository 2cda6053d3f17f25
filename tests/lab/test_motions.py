"""Each law of motion, measured from the poses that it gives: what physics asks of it, not how it is computed."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from motive.lab.motions import CARTOON, MOTIONS, PHRASES, PHYSICAL, WHOLE, Law, Part
from motive.lab.world import Looks, Spec, trajectory

LOOKS = Looks("disc", "red", "striped", "medium", "grey", "bright")
SEEDS = pytest.mark.parametrize("seed", range(5))

Array = np.ndarray


def poses(motion: str, seed: int, frames: int = 17, fps: float = 16) -> tuple[Law, Array, float]:
    return trajectory(seed, Spec(motion, LOOKS), frames, fps)


def finely(motion: str, seed: int, seconds: float = 1.0) -> tuple[Law, Array, float]:
    return poses(motion, seed, int(1000 * seconds) + 1, 1000)


def only(law: Law) -> Part:
    (part,) = law.parts
    assert part.sector == WHOLE
    return part


def angles(part: Part) -> Array:
    assert part.matrix.transpose(0, 2, 1) @ part.matrix == pytest.approx(
        np.broadcast_to(np.eye(2), part.matrix.shape), abs=1e-12
    )
    assert np.linalg.det(part.matrix) == pytest.approx(1)
    return np.unwrap(np.arctan2(part.matrix[:, 1, 0], part.matrix[:, 0, 0]))


def shift(values: Array, t: Array) -> Array:
    """The mean rate of change between neighbouring times."""
    return np.diff(values, axis=0) / np.diff(t).reshape(-1, *[1] * (values.ndim - 1))


def keeps(values: Array, tolerance: float = 1e-12) -> bool:
    return bool(np.ptp(values, axis=0).max() <= tolerance)


def accelerations(values: Array, t: Array) -> Array:
    return np.diff(values, 2) / (t[1] - t[0]) ** 2


def check_fall(law: Law, t: Array, radius: float) -> None:
    gravity, step = law.parameters["gravity"], t[1] - t[0]
    x, y = only(law).centre.T
    assert np.diff(y, 2) == pytest.approx(gravity * step**2, rel=1e-6)
    assert y[1] - y[0] == pytest.approx(gravity * step**2 / 2), "it starts from rest"
    assert keeps(x)
    assert keeps(angles(only(law)))


def check_bounce(law: Law, t: Array, radius: float) -> None:
    gravity, floor, restitution = (law.parameters[name] for name in ("gravity", "floor", "restitution"))
    x, y = only(law).centre.T
    assert y.max() <= floor + 1e-9
    hits = 1 + np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:]))
    assert len(hits) >= 2
    assert floor - y[hits] == pytest.approx(0, abs=0.005)
    free = np.ones(len(y), bool)
    free[[hits - 1, hits, hits + 1]] = False
    assert accelerations(y, t)[free[1:-1]] == pytest.approx(gravity, rel=1e-6)
    assert y[1] - y[0] == pytest.approx(gravity * (t[1] - t[0]) ** 2 / 2, rel=1e-6), "it is dropped from rest"
    flights = [y[0], *(y[a:b].min() for a, b in pairwise(hits))]
    heights = floor - np.array(flights)
    assert heights[1:] / heights[:-1] == pytest.approx(restitution**2, rel=1e-3)
    assert 0 < restitution < 1
    assert shift(x, t) == pytest.approx(law.parameters["vx"])
    assert keeps(angles(only(law)))


def check_slide(law: Law, t: Array, radius: float) -> None:
    speed, friction = law.parameters["speed"], law.parameters["friction"]
    x, y = only(law).centre.T
    stop = speed / friction
    assert t[-1] > stop
    moving, resting = t[2:] < stop, t[:-1] > stop
    assert accelerations(x, t)[moving] == pytest.approx(-friction, rel=1e-5)
    assert np.all(np.diff(x)[resting] == 0)
    assert np.all(np.diff(x) >= -1e-12)
    assert x[-1] - x[0] == pytest.approx(speed**2 / (2 * friction)), "friction has eaten up what energy it had"
    assert keeps(y)
    assert keeps(angles(only(law)))


def check_explode(law: Law, t: Array, radius: float) -> None:
    start = np.array([law.parameters["x"], law.parameters["y"]])
    decay = np.exp(-(t[1] - t[0]) / law.parameters["tau"])
    assert len(law.parts) > 2
    for part in law.parts:
        angle = np.mean(part.sector)
        direction = np.array([np.cos(angle), np.sin(angle)])
        middle = part.centre + 0.55 * radius * part.matrix @ direction
        flown = middle - start - 0.55 * radius * direction
        along = flown @ direction
        assert flown == pytest.approx(along[:, None] * direction, abs=1e-9), "each piece flies straight out"
        speeds = np.diff(along)
        assert speeds[0] > 0
        assert speeds[1:] / speeds[:-1] == pytest.approx(decay, rel=1e-5)
        assert 0.7 < shift(along, t)[0] / law.parameters["speed"] < 1.25
        assert keeps(shift(angles(part), t), 1e-6)


CHECKS: dict[frozenset[str], Callable[[Law, Array, float], None]] = {
    frozenset({"gravity"}): check_fall,
    frozenset({"gravity", "restitution", "floor", "vx"}): check_bounce,
    frozenset({"speed", "friction"}): check_slide,
    frozenset({"speed", "tau", "x", "y"}): check_explode,
}


@SEEDS
def test_what_falls_accelerates_constantly_from_rest(seed) -> None:
    check_fall(*poses("fall", seed))


@SEEDS
def test_a_bounce_is_free_flight_and_each_is_lower_by_the_restitution_squared(seed) -> None:
    check_bounce(*finely("bounce", seed, 1.7))


@SEEDS
def test_a_bounce_seen_at_a_clips_rate_stays_above_its_floor(seed) -> None:
    law, t, _ = poses("bounce", seed)
    y = only(law).centre[:, 1]
    assert y.max() <= law.parameters["floor"] + 1e-12
    free = np.isclose(accelerations(y, t), law.parameters["gravity"], rtol=1e-9)
    assert free.mean() > 0.5
    assert np.all(accelerations(y, t)[~free] < law.parameters["gravity"]), "a hit only ever pushes up"


@SEEDS
def test_what_rolls_turns_by_the_distance_over_its_radius(seed) -> None:
    law, t, radius = poses("roll", seed)
    x, y = only(law).centre.T
    assert angles(only(law)) == pytest.approx((x - x[0]) / radius)
    assert shift(x, t) == pytest.approx(law.parameters["vx"])
    assert law.parameters["vx"] > 0
    assert keeps(y)


@SEEDS
def test_what_rolls_rests_on_the_ground_for_a_moment_at_the_point_where_it_touches(seed) -> None:
    law, _, radius = finely("roll", seed, 0.02)
    part = only(law)
    lowest, highest = (np.linalg.solve(part.matrix[1], [0, side]) for side in (1, -1))
    path, top = (part.centre + radius * part.matrix @ point for point in (lowest, highest))
    moved = np.linalg.norm(part.centre[2] - part.centre[0])
    assert np.linalg.norm(path[2] - path[0]) < 1e-3 * moved
    assert np.linalg.norm(top[2] - top[0]) == pytest.approx(2 * moved, rel=1e-3)


@SEEDS
def test_what_slides_slows_down_constantly_and_rests_and_never_turns(seed) -> None:
    check_slide(*poses("slide", seed, frames=25))


@SEEDS
def test_what_spins_turns_by_the_same_angle_each_step_about_a_fixed_centre(seed) -> None:
    law, t, _ = poses("spin", seed)
    assert shift(angles(only(law)), t) == pytest.approx(law.parameters["omega"])
    assert abs(law.parameters["omega"]) > 1
    assert keeps(only(law).centre)


@SEEDS
def test_what_swings_keeps_its_distance_to_the_pivot_and_turns_with_its_string(seed) -> None:
    law, _, _ = poses("swing", seed)
    part = only(law)
    string = part.centre - [law.parameters["pivot_x"], law.parameters["pivot_y"]]
    assert np.linalg.norm(string, axis=1) == pytest.approx(law.parameters["length"])
    angles(part)
    assert part.matrix @ [0, 1] == pytest.approx(string / law.parameters["length"], abs=1e-12)


@SEEDS
def test_what_swings_keeps_its_energy(seed) -> None:
    law, t, _ = poses("swing", seed, frames=80, fps=64)
    centre, gravity, step = only(law).centre, law.parameters["gravity"], t[1] - t[0]
    velocity = (8 * (centre[3:-1] - centre[1:-3]) - (centre[4:] - centre[:-4])) / (12 * step)
    energy = (velocity**2).sum(axis=1) / 2 - gravity * centre[2:-2, 1]
    depth = np.ptp(centre[:, 1])
    assert keeps(energy, 1e-3 * gravity * depth)
    assert (velocity**2).sum(axis=1).max() / 2 == pytest.approx(gravity * depth, rel=0.01)


def arithmetic_geometric_mean(a: float, b: float) -> float:
    for _ in range(8):
        a, b = (a + b) / 2, np.sqrt(a * b)
    return a


@SEEDS
def test_the_period_of_a_swing_is_that_of_the_exact_pendulum(seed) -> None:
    law, t, _ = poses("swing", seed, frames=200, fps=100)
    x, y = (only(law).centre - [law.parameters["pivot_x"], law.parameters["pivot_y"]]).T
    theta = np.arctan2(x, y)
    assert theta[0] == pytest.approx(law.parameters["amplitude"])
    assert np.abs(theta).max() <= law.parameters["amplitude"] + 1e-9
    before = np.flatnonzero(theta[:-1] * theta[1:] < 0)
    crossings = t[before] + (t[1] - t[0]) * theta[before] / (theta[before] - theta[before + 1])
    assert len(crossings) >= 3
    small = 2 * np.pi * np.sqrt(law.parameters["length"] / law.parameters["gravity"])
    period = small / arithmetic_geometric_mean(1, np.cos(law.parameters["amplitude"] / 2))
    assert period > 1.03 * small
    assert 2 * np.diff(crossings) == pytest.approx(period, rel=1e-3)
    assert 4 * crossings[0] == pytest.approx(period, rel=1e-3)


@SEEDS
def test_what_floats_comes_ever_nearer_to_its_terminal_speed(seed) -> None:
    law, t, _ = poses("float", seed, frames=81)
    x, y = only(law).centre.T
    terminal, step = law.parameters["terminal"], t[1] - t[0]
    lacking = terminal + shift(y, t)
    assert lacking[0] > 0.7 * terminal, "it starts from rest"
    assert lacking[-1] == pytest.approx(0, abs=1e-5 * terminal)
    early = lacking[:20]
    assert early[1:] / early[:-1] == pytest.approx(np.exp(-step / law.parameters["tau"]), rel=1e-6)
    assert keeps(angles(only(law)))
    sway = law.parameters["sway"] * np.sin(2 * np.pi * t / law.parameters["period"])
    assert x - x[0] == pytest.approx(sway, abs=1e-9)


@SEEDS
def test_what_is_compressed_sinks_exponentially_onto_a_base_that_stays_and_bulges(seed) -> None:
    law, t, radius = poses("compress", seed, frames=81)
    part, depth = only(law), law.parameters["depth"]
    height, width = part.matrix[:, 1, 1], part.matrix[:, 0, 0]
    assert height[0] == pytest.approx(1)
    assert height[-1] == pytest.approx(1 - depth, abs=1e-4)
    left = height - (1 - depth)
    assert left[1:] / left[:-1] == pytest.approx(np.exp(-(t[1] - t[0]) / law.parameters["tau"]), rel=1e-6)
    assert keeps((part.centre + radius * part.matrix @ [0, 1])[:, 1])
    assert np.all(np.diff(width) > 0)
    assert np.all(part.matrix[:, [0, 1], [1, 0]] == 0)
    assert keeps(part.centre[:, 0])


@SEEDS
def test_what_is_stretched_grows_at_a_constant_rate_of_strain_and_thins(seed) -> None:
    law, t, _ = poses("stretch", seed)
    part, rate, axis = only(law), law.parameters["rate"], law.parameters["axis"]
    along, across = np.array([np.cos(axis), np.sin(axis)]), np.array([-np.sin(axis), np.cos(axis)])
    assert part.matrix[0] == pytest.approx(np.eye(2))
    assert shift(np.log(part.matrix @ along @ along), t) == pytest.approx(rate)
    assert shift(np.log(part.matrix @ across @ across), t) == pytest.approx(-0.3 * rate)
    assert part.matrix @ along @ across == pytest.approx(0, abs=1e-12)
    assert keeps(part.centre)


@SEEDS
def test_the_pieces_of_an_explosion_fly_straight_out_and_slow_down_exponentially(seed) -> None:
    check_explode(*poses("explode", seed))


@SEEDS
def test_the_pieces_of_an_explosion_are_the_whole_object_at_first(seed) -> None:
    law, _, _ = poses("explode", seed)
    for part in law.parts:
        assert part.centre[0] == pytest.approx([law.parameters["x"], law.parameters["y"]])
        assert part.matrix[0] == pytest.approx(np.eye(2))
    angle = np.random.default_rng(seed).uniform(-np.pi, np.pi, 1000)
    owners = [(angle - part.sector[0]) % (2 * np.pi) < part.sector[1] - part.sector[0] for part in law.parts]
    assert np.all(np.sum(owners, axis=0) == 1)


@SEEDS
def test_what_is_static_stays(seed) -> None:
    law, _, _ = poses("static", seed)
    assert np.ptp(only(law).centre, axis=0).max() == 0
    assert np.ptp(only(law).matrix, axis=0).max() == 0


@SEEDS
def test_a_bounce_without_gravity_keeps_its_speed(seed) -> None:
    law, t, _ = finely("constant-bounce", seed, 1.7)
    x, y = only(law).centre.T
    rates = np.abs(shift(y, t))
    turns = np.count_nonzero(np.diff(np.sign(np.diff(y))))
    assert turns >= 2
    assert np.count_nonzero(~np.isclose(rates, law.parameters["speed"])) <= turns
    assert rates.max() <= law.parameters["speed"] * (1 + 1e-9)
    assert keeps(shift(x, t), 1e-9)


@SEEDS
def test_a_hovering_fall_pauses_in_the_air_and_goes_on(seed) -> None:
    law, t, _ = finely("hovering-fall", seed)
    x, y = only(law).centre.T
    rates = shift(y, t)
    falling, hanging = np.isclose(rates, law.parameters["speed"]), np.isclose(rates, 0, atol=1e-9)
    assert np.count_nonzero(~falling & ~hanging) <= 2
    pause = np.flatnonzero(hanging)
    assert np.all(np.diff(pause) == 1)
    step = t[1] - t[0]
    assert t[pause[0]] == pytest.approx(law.parameters["start"], abs=2 * step)
    assert len(pause) * step == pytest.approx(law.parameters["pause"], abs=2 * step)
    assert falling[0]
    assert falling[-1]
    assert keeps(x)


@SEEDS
def test_what_teleports_stays_at_a_place_and_is_at_another_at_once(seed) -> None:
    law, t, _ = finely("teleport", seed)
    jumps = np.linalg.norm(np.diff(only(law).centre, axis=0), axis=1)
    times = t[1:][jumps > 0]
    assert len(times) >= 3
    assert times == pytest.approx(law.parameters["stay"] * np.arange(1, len(times) + 1), abs=2 * (t[1] - t[0]))
    assert jumps[jumps > 0].mean() > 0.1
    assert keeps(angles(only(law)))


def test_reversed_time_is_a_physical_law_played_backwards() -> None:
    seen = set()
    for seed in range(16):
        law, t, radius = finely("reversed", seed, 1.7)
        forward = [Part(part.centre[::-1], part.matrix[::-1], part.sector) for part in law.parts]
        check = CHECKS[frozenset(law.parameters)]
        check(Law(forward, law.parameters), t, radius)
        with pytest.raises(AssertionError):
            check(law, t, radius)
        seen.add(check)
    assert seen == set(CHECKS.values())


@pytest.mark.parametrize("motion", MOTIONS)
def test_poses_do_not_depend_on_how_densely_they_are_sampled(motion) -> None:
    for seed in range(3):
        coarse, t, radius = poses(motion, seed, 17, 16)
        fine, between, same = poses(motion, seed, 65, 64)
        assert (coarse.parameters, radius) == (fine.parameters, same)
        assert between[::4] == pytest.approx(t)
        for one, other in zip(coarse.parts, fine.parts, strict=True):
            assert other.centre[::4] == pytest.approx(one.centre, abs=1e-6)
            assert other.matrix[::4] == pytest.approx(one.matrix, abs=1e-6)


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_seed_draws_its_own_law(motion) -> None:
    places = {poses(motion, seed)[0].parts[0].centre[0].tobytes() for seed in range(20)}
    assert len(places) == 20


def test_there_are_ten_physical_motions_and_every_motion_has_its_phrase() -> None:
    assert len(PHYSICAL) == 10
    assert {*PHYSICAL, *CARTOON, "static"} == set(MOTIONS) == set(PHRASES)
    assert len(set(PHRASES.values())) == len(MOTIONS) == 15
