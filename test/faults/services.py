"""Faults of those who call the services of the node."""

from std_srvs.srv import SetBool, Trigger

from deep_perception_msgs.srv import GetScene
from faults.hostile import text
from faults.table import fault


@fault(weight=2)
def scenes_of_nobody(world, chance):
    for _ in range(5):
        camera = chance.choice((text(chance), "", "front ", "healthy/", "../healthy"))
        request = GetScene.Request(camera=camera.replace("\0", ""), include_masks=True)
        answer = world.call(GetScene, "get_scene", request)
        if answer.success:
            world.problem(f"get_scene of {camera[:40]!r} succeeds")
        world.check_shown(answer.message, "the message of get_scene")
    yield


@fault()
def switched_off_and_on(world, chance):
    for _ in range(chance.randint(1, 6)):
        wanted = chance.random() < 0.5
        answer = world.call(SetBool, "set_enabled", SetBool.Request(data=wanted))
        if not answer.success:
            world.problem(f"set_enabled is refused: {answer.message}")
    yield
    world.call(SetBool, "set_enabled", SetBool.Request(data=True))


@fault()
def calls_without_waiting(world, chance):
    kinds = (
        (Trigger, "request_keyframe", Trigger.Request()),
        (GetScene, "get_scene", GetScene.Request(camera="healthy", include_masks=True)),
    )
    for _ in range(chance.choice((50, 200))):
        kind, name, request = chance.choice(kinds)
        world.graph.prepare(kind, f"{world.name}/{name}").call_async(request)
    yield
