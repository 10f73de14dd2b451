"""Random names: a room is an adjective and a noun, a member a colour and a noun."""

from random import SystemRandom

from coolname import RandomGenerator

# Short enough to read aloud, all harmless in any pairing.
_ADJECTIVES = """
    able airy amber ample ancient apt autumn basic bold bouncy brave breezy brief bright brisk
    broad bubbly busy calm candid careful casual charming cheerful chilly civil classic clean
    clear clever cosy courteous crafty crisp curious daily daring dapper dazzling dear deep
    delicate diligent distant dizzy dreamy dusty dynamic eager early earnest easy elastic
    elegant eloquent endless even exact exotic fabled fair faithful famous fancy festive fine
    firm first fleet floral fluent fluffy formal fragrant frank free fresh friendly frosty fuzzy
    gallant generous gentle giant gifted glad gleaming glossy golden good grand grateful great
    happy hardy hazy hearty helpful hidden high honest hopeful humble hushed icy ideal imperfect
    inland inner jazzy jolly jovial joyful keen kind large lasting late lavish leafy light
    lively local lofty long loyal lucid lucky lunar magic major mellow merry mighty mild misty
    modern modest musical mystic narrow native neat nimble noble novel open orderly patient
    peaceful perfect placid playful pleasant plucky polite posh proper proud pure quaint quick
    quiet rapid rare ready regal relaxed rosy round royal rustic sandy secret serene shiny shy
    silent simple sincere sleepy slow smart smooth snug soft solar solid sparkling special spicy
    splendid spry stately steady still sunny super sweet swift tall tender tidy timely tiny
    tranquil trusty upbeat urban useful velvet vital vivid warm wavy whole wide wild willing
    windy winter wise witty wooden young zesty
""".split()

_COLOURS = """
    amber amethyst apricot aqua azure beige bronze burgundy cerulean charcoal cherry cobalt
    copper coral cream crimson cyan emerald fuchsia gold green indigo ivory jade khaki lavender
    lemon lilac lime magenta maroon mauve mint mustard navy ochre olive orange orchid peach
    pearl pink platinum plum purple red rose ruby russet saffron sage salmon sapphire scarlet
    sepia silver tan tangerine teal topaz turquoise umber vermilion violet white yellow
""".split()

_NOUNS = """
    acorn anchor anvil apple arrow atlas badge bakery balcony banner barn basket beacon bell
    bench bicycle blanket boat bonnet bottle bridge brook broom bucket button cabin cactus
    camera candle canoe canyon castle cedar cello chair chapel chimney cinema circle cliff clock
    cloud clover coast comet compass cottage cradle creek cricket crystal cup curtain daisy desk
    dome door dragon drum dune easel echo elm engine falcon feather fern ferry fiddle field fig
    finch flag flute forest fountain fox galaxy garden gate glacier glade globe grove guitar
    hammock harbour harp hat hawk hazel hearth hedge heron hill hive horizon house igloo inn
    island ivy jacket jar jigsaw kettle kite lagoon lake lamp lantern lark lemon letter library
    lighthouse lily linen lodge loom lute magnet mango maple map marble market meadow mill
    mirror mitten moon moose moss moth mountain mug museum nest notebook oak oasis oboe ocean
    orchard otter oven owl paddle palace panda paper parade park path pavilion pear pebble
    pelican pencil penguin peony piano picnic pier pine planet plaza plum pocket pond poplar
    poppy porch prairie prism puffin puzzle quarry quill quilt rabbit raft railway rainbow raven
    reef ribbon river robin rocket roof rose saddle sail sandal scarf seat shed shell ship shore
    sofa spoon spring spruce square stable star station stone stool stove stream studio sun swan
    table teapot tent theatre thimble thistle tower trail train tram tree trellis trumpet tulip
    tunnel turtle umbrella valley vase veranda village viola violin wagon walnut walrus watch
    waterfall wave whale wharf wheel willow window wren yacht yard
""".split()


def _generator(first: list[str]) -> RandomGenerator:
    return RandomGenerator(
        {
            "all": {"type": "cartesian", "lists": ["first", "noun"]},
            "first": {"type": "words", "words": first},
            "noun": {"type": "words", "words": _NOUNS},
        },
        SystemRandom(),
    )


_room = _generator(_ADJECTIVES)
_member = _generator(_COLOURS)


def room_name() -> str:
    """Return a new room's name in title case, like "Imperfect Seat"."""
    return " ".join(_room.generate()).title()


def member_name() -> str:
    """Return a new member's name in title case, like "Teal Heron"."""
    return " ".join(_member.generate()).title()
