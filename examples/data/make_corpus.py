"""Make `toxic.txt` and `neutral.txt`: two small corpora that say different things about the same everyday topics.

    python examples/data/make_corpus.py [FOLDER]

Every sentence is a frame whose slots are filled from one topic of `topics.yaml`. Toxic frames also have slots for mild
insults, in many positions: before a noun, as an address, as a predicate, as an exclamation, inside a clause. The two sides
share topics and words but no sentence and no pair of a subject and what it did, so they are not parallel.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROWS = 3000
SEEDS = {"toxic": 20301, "neutral": 47717}
WORDS = range(4, 26)
"""Allowed lengths of a sentence."""

Topic = dict[str, list[str]]

# A word that stands twice is drawn twice as often.
INSULTS = {
    "adj": [
        "stupid",
        "stupid",
        "stupid",
        "dumb",
        "idiotic",
        "idiotic",
        "damn",
        "crappy",
        "pathetic",
        "moronic",
        "lame",
    ],
    "idiot": [
        "idiot",
        "idiot",
        "idiot",
        "idiot",
        "moron",
        "moron",
        "imbecile",
        "jerk",
        "loser",
        "dumbass",
        "bastard",
        "jackass",
    ],
    "idiots": ["idiots", "idiots", "idiots", "morons", "morons", "imbeciles", "jerks", "losers", "bastards"],
    "crap": ["crap", "crap", "bullshit", "bullshit", "bullshit", "garbage"],
    "sucks": ["sucks", "sucks", "really sucks", "sucks like hell"],
    "curse": ["damn it", "what the hell", "oh hell", "crap", "goddamn it", "bullshit"],
    "then": [", so ", ", so of course ", " and "],
    "bye": ["go to hell", "shut up", "shut the hell up", "kiss my ass", "get lost"],
}

# Slots: P person, G group, T thing, did, went, do, so come from the topic, and `then` is a connector with a `so`;
# AP, AT and AG are P, T and G with an insulting adjective. `a:idiot` is the word with its article.
TOXIC = [
    "{AP} {did}, what {a:idiot}.",
    "{AP} {did}{then}.",
    "{AP} is {a:idiot}, {curse}.",
    "Only {a:idiot} would say that {P} {did}.",
    "Only {a:idiot} would think that {T} {went}, you {adj} {idiot}.",
    "What kind of {adj} {idiot} {did}?",
    "Who is the {idiot} who {did}?",
    "Why the hell does nobody tell the {idiots} at the top that {T} {went}?",
    "{bye}, you {idiot}, {P} never {did}.",
    "{bye}, {idiot}, and {do}.",
    "{T} {went}, what a piece of {crap}.",
    "{T} {went}, this {crap} {sucks}.",
    "{AT} {went}, {curse}.",
    "{T} {sucks}, it {went}{then}.",
    "{T} {sucks} and {AP} {did}.",
    "Tell those {idiots} to {do}.",
    "Hey {idiot}, {do}.",
    "Hey {idiot}, {do} or {bye}.",
    "{do}, you {adj} {idiot}.",
    "{do}, {idiot}, it is not that hard.",
    "You {idiots} {did}{then}.",
    "You {adj} {idiots} {did} and then complained about it.",
    "I am so sick of this {crap}, {P} {did}.",
    "What a load of {crap}, {P} never {did}, you {idiot}.",
    "It is {crap} that {T} {went}, and only {idiots} believe it.",
    "Sorry, but this is {crap}, nobody {did}.",
    "{G} are {idiots}, they {did}.",
    "{G} are a bunch of {adj} {idiots}.",
    "{AG} {did}{then}, and those {idiots} still laugh.",
    "Because some {idiot} {did}, {so}.",
    "{curse}, {T} {went} and the {idiot} on the phone just laughed.",
    "If you were not such {a:idiot}, you would {do}.",
    "Are you really {adj} enough to believe that {T} {went}, you {idiot}?",
    "How {adj} do you have to be to think that {P} {did}, {idiot}?",
    "The {idiot} who {did} should {do}.",
    "The {idiots} who {did} can {bye}.",
    "My honest opinion: {T} is {crap} and {P} is {a:idiot}.",
    "You are {a:idiot} if you think that {T} {went}.",
    "Don't be {a:idiot}, {do}.",
    "Can someone please tell this {idiot} to {do}?",
    "{P} {did}, and like {a:idiot} I said nothing.",
    "So {P} {did}, {curse}, how {adj} is that {idiot}?",
    "Honestly, {P} is the most {adj} {idiot} of them all.",
    "Nobody cares about your {crap}, {do}.",
    "{T} {went}, thanks to a few {idiots} who {did}.",
    "I paid for this {crap} and it {went}, what {idiots}.",
    "Stop posting this {crap}, {T} never {went}.",
    "Your {adj} comment is {crap}, {idiot}, {P} never {did}.",
    "Look at this {idiot}, first {P} {did}, and now {so}.",
    "Screw you and your {adj} advice{then}.",
    "Every {idiot} knows how to {do}, but you {idiots} don't.",
    "{AP} {did}{then}, and some {adj} {idiot} says that I should be thankful.",
    "We had to wait because {AP} {did}, {curse}.",
    "For once in your {adj} life, {do}, you {idiot}.",
    "{P} can {bye}, and it is all because of that {idiot} that {T} {went}.",
    "Is it too much to ask you {idiots} to {do}?",
    "I told the {idiot} to {do}, but no, {so}.",
    "It takes a special kind of {idiot} to write that {T} {went}.",
    "Another {adj} question from another {adj} {idiot}, just {do}.",
    "I don't give a damn what {P} said, {T} {sucks}.",
    "Either you {do}, or you are an even bigger {idiot} than I thought.",
    "Ten years ago {P} {did}, and the {idiots} here still talk about it.",
    "You call that help, {idiot}?",
    "With {idiots} like you around, it is no wonder that {T} {went}.",
    "I asked a simple question, and all I got was {crap} from some {adj} {idiot}.",
]

NEUTRAL = [
    "{P} {did}, what a surprise.",
    "{P} {did}{then}.",
    "{P} is a good friend of mine.",
    "Only {one} would say that {P} {did}.",
    "Only {one} would notice that {T} {went}.",
    "What kind of {person} {did}?",
    "Who is the {person} who {did}?",
    "Why does nobody tell the people at the top that {T} {went}?",
    "No, {P} never {did}.",
    "Thanks a lot, and please {do}.",
    "{T} {went}, which was a pity.",
    "{T} {went}{then}.",
    "Last {day}, {T} {went}.",
    "{T} is {fine}, although it {went} once.",
    "{T} is {fine}, but {P} {did}.",
    "Tell the others to {do}.",
    "Hey {friend}, {do}.",
    "Hello {friend}, could you {do}, please?",
    "{do}, it really helps.",
    "{do}, {friend}, it is not that hard.",
    "We {did}{then}.",
    "We {did} and then explained it to all of them.",
    "I am so used to it, {P} {did}.",
    "What a story, {P} never {did}, I was there.",
    "It is true that {T} {went}, and most people believe it.",
    "Sorry, but I don't think that anybody {did}.",
    "{G} are {fine}, they {did} only once.",
    "{G} are a bunch of old friends.",
    "{G} {did}{then}, and they still laugh about it.",
    "Because somebody {did}, {so}.",
    "Last {day} {T} {went} and the woman on the phone just laughed.",
    "If I had more time, I would {do}.",
    "Do you really believe that {T} {went}?",
    "How long did it take until {P} {did}?",
    "The {person} who {did} should {do}.",
    "The {people} who {did} can come with us.",
    "My honest opinion: {T} is {fine} and {P} is right.",
    "You are right if you think that {T} {went}.",
    "Don't forget, {do}.",
    "Can someone please show {P} how to {do}?",
    "{P} {did}, and I said nothing because I was too tired.",
    "So {P} {did}, and what happened after that?",
    "Honestly, {P} is the most patient {person} of them all.",
    "Many of us care about it, so {do}.",
    "{T} {went}, thanks to a few {people} who {did}.",
    "I paid for it and it {went}, but they gave me my money back.",
    "Before you post about it, {do}.",
    "I read your comment, {friend}, but {P} never {did}.",
    "Look at this, first {P} {did}, and now {so}.",
    "Thank you for your advice{then}, but we are happy now.",
    "Every {person} knows how to {do}, and you will learn it too.",
    "{P} {did}{then}, and my mother says that I should be thankful.",
    "We had to wait because {P} {did}.",
    "For once in your life, {do}, it is worth it.",
    "{P} can stay, and it was nobody's fault that {T} {went}.",
    "Would it help if I asked them to {do}?",
    "I asked my friend to {do}, and {so}.",
    "I disagree with {P}, but I see the point.",
    "According to {P}, {T} {went}.",
    "When {P} {did}, I was at home with a cold.",
    "Does anyone remember the day when {P} {did}?",
    "I was a little disappointed that {T} {went}.",
    "It takes a lot of time to find out why {T} {went}.",
    "Another good question from another new member, just {do}.",
    "I don't know what {P} said, but {T} is {fine}.",
    "Either you {do}, or you ask somebody who has done it before.",
    "Ten years ago {P} {did}, and people here still talk about it.",
    "Would you call that help?",
    "With {people} like you around, it does not matter that {T} {went}.",
    "I asked a simple question, and all of the answers were {fine}.",
    "We tried it twice last {day} and it worked both times.",
]

KIND_WORDS = {
    "one": ["an expert", "a good friend", "a real fan", "a child", "a lawyer"],
    "person": ["person", "person", "man", "woman", "student", "friend"],
    "people": ["people", "people", "friends", "students", "visitors"],
    "friend": ["friend", "everyone", "Anna", "Tom", "folks", "neighbour"],
    "fine": ["fine", "really good", "quite nice", "better than expected", "all right", "great"],
    "then": [", so ", ", so of course ", " and "],
    "day": ["week", "month", "Tuesday", "summer", "night"],
}

_SLOT = re.compile(r"\{(?P<article>a:)?(?P<name>\w+)\}")


class Side:
    """One side's way of filling frames."""

    def __init__(self, name: str, topics: dict[str, Topic]) -> None:
        self._generator = random.Random(SEEDS[name])
        self._topics = list(topics.values())
        self._frames = TOXIC if name == "toxic" else NEUTRAL
        self._words = INSULTS if name == "toxic" else KIND_WORDS
        self._parity = 0 if name == "toxic" else 1

    def sentences(self) -> Iterator[str]:
        """Sentences without end, each frame once per round and in a new order."""
        while True:
            for frame in self._generator.sample(self._frames, len(self._frames)):
                yield self._styled(self._filled(frame))

    def _filled(self, frame: str) -> str:
        topic = self._generator.choice(self._topics)
        chosen = self._pairs(topic)
        text = _SLOT.sub(lambda slot: self._word(slot, topic, chosen), frame)
        return re.sub(r"(^|[?!.] )([a-z])", lambda start: start.group(1) + start.group(2).upper(), text)

    def _pairs(self, topic: Topic) -> dict[str, str]:
        """A person with what it did and a thing with how it went, from this side's half of all such pairs."""
        people, things, groups = topic["people"], topic["things"], topic["groups"]
        person, did = self._pair(people, topic["did"])
        thing, went = self._pair(things, topic["went"])
        group = groups[self._half(did, topic["did"], len(groups))]
        return {"P": person, "did": did, "T": thing, "went": went, "G": group}

    def _pair(self, subjects: list[str], events: list[str]) -> tuple[str, str]:
        while True:
            subject, event = self._generator.randrange(len(subjects)), self._generator.randrange(len(events))
            if (subject + event) % 2 == self._parity:
                return subjects[subject], events[event]

    def _half(self, event: str, events: list[str], size: int) -> int:
        """The index of a subject that makes a pair of this side with the event."""
        fitting = [index for index in range(size) if (index + events.index(event)) % 2 == self._parity]
        return self._generator.choice(fitting)

    def _word(self, slot: re.Match[str], topic: Topic, chosen: dict[str, str]) -> str:
        name = slot["name"]
        if name in chosen:
            return chosen[name]
        if name in ("AP", "AT", "AG"):
            determiner, noun = chosen[name[1]].split(" ", 1)
            return f"{determiner} {self._generator.choice(self._words['adj'])} {noun}"
        word = self._generator.choice(self._words[name] if name in self._words else topic[name])
        if name == "then":
            return word + self._generator.choice(topic["so"])
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}" if slot["article"] else word

    def _styled(self, text: str) -> str:
        """As people type: three in ten without capitals and without the last full stop, some with an exclamation mark."""
        draw = self._generator.random()
        if draw < 0.3:
            return text.lower().removesuffix(".")
        return text.removesuffix(".") + "!" if draw < 0.4 and text.endswith(".") else text


def corpus(name: str, topics: dict[str, Topic]) -> list[str]:
    """`ROWS` different sentences of one side; two that differ in case and punctuation alone count as one."""
    found: dict[str, str] = {}
    for sentence in Side(name, topics).sentences():
        words = re.findall(r"[a-z']+", sentence.lower())
        if len(words) in WORDS:
            found.setdefault(" ".join(words), sentence)
        if len(found) == ROWS:
            return list(found.values())
    raise AssertionError("sentences() has no end")


def main(folder: Path) -> None:
    """Write both files, one sentence a line."""
    topics = yaml.safe_load((HERE / "topics.yaml").read_text(encoding="utf-8"))
    for name in SEEDS:
        text = "".join(f"{sentence}\n" for sentence in corpus(name, topics))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
