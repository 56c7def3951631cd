"""BlueZ's pairing agents: the people who read and type six digits.

Source: BlueZ 5.66, doc/agent-api.txt.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bumble.pairing import PairingConfig, PairingDelegate
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from firmware_sim.bluez_gatt import error
from firmware_sim.bus import NOTHING, Answer, Call, Objects

_Io: TypeAlias = PairingDelegate.IoCapability

_CAPABILITIES = {
    "": _Io.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
    "DisplayOnly": _Io.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": _Io.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": _Io.KEYBOARD_INPUT_ONLY,
    "NoInputNoOutput": _Io.NO_OUTPUT_NO_INPUT,
    "KeyboardDisplay": _Io.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}


class Agents:
    """The agents that clients have registered."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._agents: dict[str, _Agent] = {}
        self._defaults: list[str] = []  # owners, the latest first

    def show(self, objects: Objects) -> None:
        """Let clients register."""
        calls: dict[str, Call] = {
            "RegisterAgent": self._register,
            "RequestDefaultAgent": self._request_default,
            "UnregisterAgent": self._unregister,
        }
        objects.add("/org/bluez", "org.bluez.AgentManager1", {}, calls)

    def asker(self, client: str, device: str) -> "Asker":
        """Return whom to ask when ``client`` pairs: its own agent or the default."""
        owners = [o for o in (client, *self._defaults) if o in self._agents]
        return Asker(self._bus, self._agents[owners[0]] if owners else None, device)

    def forget_client(self, client: str) -> None:
        """Drop the agent of a client that has left the bus."""
        self._agents.pop(client, None)
        self._defaults = [owner for owner in self._defaults if owner != client]

    async def _register(self, message: Message) -> Answer:
        path, capability = message.body
        owner = message.sender or ""
        if owner in self._agents:
            raise error("AlreadyExists", "Already Exists")
        if capability not in _CAPABILITIES:
            raise error("InvalidArguments", "Invalid arguments in method call")
        self._agents[owner] = _Agent(owner, path, _CAPABILITIES[capability])
        return NOTHING

    async def _request_default(self, message: Message) -> Answer:
        self._defaults.insert(0, self._owner(message))
        return NOTHING

    async def _unregister(self, message: Message) -> Answer:
        self.forget_client(self._owner(message))
        return NOTHING

    def _owner(self, message: Message) -> str:
        owner = message.sender or ""
        if owner not in self._agents:
            raise error("DoesNotExist", "Does Not Exist")
        return owner


@dataclass(frozen=True, slots=True)
class _Agent:
    owner: str
    path: str
    io: _Io


class Asker(PairingDelegate):
    """Passes the questions of one pairing on to an agent, if there is one."""

    def __init__(self, bus: MessageBus, agent: _Agent | None, device: str) -> None:
        super().__init__(agent.io if agent else _Io.NO_OUTPUT_NO_INPUT)
        self._bus = bus
        self._agent = agent
        self._device = device
        self._is_asking = False

    def config(self) -> PairingConfig:
        """Return how to pair: with protection from eavesdroppers where it can be."""
        mitm = self.io_capability is not _Io.NO_OUTPUT_NO_INPUT
        return PairingConfig(sc=True, mitm=mitm, bonding=True, delegate=self)

    async def confirm(self, auto: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Agree if there is an agent: who calls Pair has said that he wants to."""
        return self._agent is not None

    async def compare_numbers(self, number: int, digits: int) -> bool:  # noqa: ARG002
        body = [self._device, number]
        return await self._ask("RequestConfirmation", "ou", body) is not None

    async def get_number(self) -> int | None:
        answer = await self._ask("RequestPasskey", "o", [self._device])
        return None if answer is None else int(answer.body[0])

    async def display_number(self, number: int, digits: int) -> None:  # noqa: ARG002
        await self._ask("DisplayPasskey", "ouq", [self._device, number, 0])

    async def close(self) -> None:
        """Take back a question that nobody has answered."""
        if self._is_asking:
            await self._ask("Cancel", "", [])

    async def _ask(
        self, member: str, signature: str, body: list[object]
    ) -> Message | None:
        """Call the agent; return its answer, None if it refuses."""
        if self._agent is None:
            return None
        self._is_asking = member.startswith("Request")
        answer = await self._bus.call(
            Message(
                destination=self._agent.owner,
                path=self._agent.path,
                interface="org.bluez.Agent1",
                member=member,
                signature=signature,
                body=body,
            )
        )
        self._is_asking = False
        return answer if answer.message_type is MessageType.METHOD_RETURN else None
