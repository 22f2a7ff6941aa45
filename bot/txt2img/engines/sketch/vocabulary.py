"""Map words to meanings: places, hours, weather, subjects, colours and styles.

Words are English with some German, French and Spanish, and emoji. They are compared without case,
accents and regular plurals. ``scene`` decides between several meanings.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """One meaning of a word: a ``kind``, such as place or colour, and a ``name`` within it."""

    kind: str
    name: str


_WORDS: dict[str, dict[str, str]] = {
    "place": {
        "space": "space cosmos cosmic galaxy galactic nebula universe planet orbit interstellar"
        " stellar alien weltall weltraum galaxie espace univers espacio 🌌 🪐 ☄",
        "sea": "sea ocean wave beach coast shore island water lake river harbor harbour bay lagoon"
        " meer ozean welle strand kuste insel mer vague plage lac mar playa ola lago 🌊 🏖 🏝",
        "forest": "forest wood woodland jungle grove pine wald urwald foret bosque selva 🌲 🌳",
        "mountains": "mountain peak alps alpine ridge cliff canyon valley glacier himalaya volcano"
        " berg gebirge tal gipfel vulkan montagne vallee montana valle 🏔 ⛰ 🗻 🌋",
        "city": "city cityscape town street skyline downtown metropolis skyscraper tokyo york alley"
        " cyberpunk neon urban stadt strasse ville rue ciudad calle 🌃 🏙 🌆",
        "desert": "desert dune sahara egypt pyramid mars oasis wuste desierto sand 🏜 🐪",
        "meadow": "meadow field hill grass prairie farm countryside garden park village landscape"
        " wiese feld hugel garten dorf champ jardin campo prado 🌾 🏞",
        "deep": "underwater undersea reef coral abyss submarine aquarium unterwasser tiefsee 🪸",
        "portrait": "portrait face bust headshot gesicht retrato",
    },
    "hour": {
        "dawn": "dawn sunrise morning morgen morgenrote aube amanecer 🌅",
        "day": "day daylight noon sunny sun summer afternoon sommer sonne ete jour soleil sol"
        " verano dia ☀ 🌞",
        "sunset": "sunset golden abend sonnenuntergang soir atardecer 🌇",
        "dusk": "dusk twilight evening dammerung crepuscule ocaso",
        "night": "night midnight moon moonlight moonlit starry dark nacht mond nuit lune noche luna"
        " 🌙 🌕 🌛",
    },
    "weather": {
        "fog": "fog foggy mist misty haze hazy smoke nebel dunst brume brouillard niebla 🌫",
        "rain": "rain rainy raining wet drizzle regen pluie lluvia 🌧 ☔",
        "snow": "snow snowy snowing winter ice icy frozen frost blizzard arctic christmas schnee"
        " eis hiver neige nieve invierno ❄ ☃ ⛄ 🎄",
        "storm": "storm stormy thunder thunderstorm lightning tempest sturm gewitter orage tormenta"
        " ⛈ 🌩 ⚡",
        "clouds": "cloud cloudy overcast wolke nuage nube ☁",
        "aurora": "aurora borealis polarlicht",
        "stars": "star stars starlight sterne stern etoile estrella ⭐ 🌟 constellation"
        " starfield milky",
        "embers": "fire flame burning ember inferno lava feuer feu fuego infierno 🔥",
        "fireflies": "firefly fireflies magic magical enchanted fairy fantasy dream dreamy zauber"
        " ✨ 🧚",
        "petals": "blossom sakura cherry petal spring bloom fruhling printemps primavera 🌸",
        "leaves": "autumn fall herbst automne otono 🍂 🍁",
    },
    "subject": {
        "astronaut": "astronaut cosmonaut spaceman astronauta 👨‍🚀 🧑‍🚀 👩‍🚀",
        "fox": "fox fuchs renard zorro 🦊",
        "cat": "cat kitten kitty katze chat gato 🐱 🐈",
        "wolf": "wolf wolves loup lobo husky 🐺",
        "dog": "dog puppy corgi hund chien perro 🐶 🐕",
        "rabbit": "rabbit bunny hare hase lapin conejo 🐰 🐇",
        "bear": "bear panda baer oso 🐻 🐼",
        "horse": "horse pony unicorn pferd cheval caballo einhorn 🐴 🐎 🦄",
        "deer": "deer stag elk moose reindeer hirsch reh cerf ciervo 🦌",
        "elephant": "elephant mammoth elefant elefante 🐘",
        "beast": "triceratops dinosaur lion tiger cow camel bull rhino lowe kuh vache"
        " leon tigre 🦕 🦁",
        "birds": "bird crow raven gull seagull eagle swan vogel oiseau pajaro 🐦 🦅 🕊",
        "fish": "fish goldfish koi shark salmon fisch poisson pez 🐟 🐠 🐡 🦈",
        "whale": "whale dolphin orca wal baleine ballena 🐋 🐳 🐬",
        "butterfly": "butterfly moth schmetterling papillon mariposa 🦋",
        "dragon": "dragon wyvern drache dragon 🐉 🐲",
        "person": "man woman girl boy person wanderer traveler traveller samurai"
        " knight warrior king"
        " queen monk hero child human figure lady soldier mann frau ritter homme femme hombre"
        " mujer 🧍 🚶 👤",
        "wizard": "wizard witch sorcerer mage warlock merlin gandalf druid zauberer"
        " hexe sorcier mago"
        " 🧙",
        "robot": "robot android cyborg mech droid roboter 🤖",
        "tree": "tree oak willow bonsai baum arbre arbol",
        "flower": "flower rose tulip sunflower lotus daisy orchid blume fleur flor 🌹"
        " 🌻 🌷 🌺 🌼 🪷",
        "mushroom": "mushroom fungus pilz champignon seta 🍄",
        "ship": "ship boat sail sailboat pirate yacht schiff boot bateau barco ⛵ 🚢",
        "house": "house cottage cabin hut home barn haus hutte maison casa 🏠 🏡",
        "castle": "castle palace fortress tower temple schloss burg chateau castillo 🏰 🏯",
        "lighthouse": "lighthouse leuchtturm phare faro",
        "rocket": "rocket spaceship spacecraft shuttle starship rakete fusee cohete 🚀 🛸",
        "balloon": "balloon zeppelin airship ballon globo 🎈",
    },
    "colour": {
        "d9302c": "red crimson scarlet ruby rot rouge rojo ❤ 🔴",
        "f07f1a": "orange amber copper 🟠 🧡",
        "f5c842": "yellow gold gelb jaune amarillo 🟡 💛",
        "3fa34d": "green emerald jade grun vert verde 🟢 💚",
        "1fb5a8": "teal turquoise cyan aqua",
        "2f6fde": "blue azure sapphire cobalt indigo blau bleu azul 🔵 💙",
        "8a3fc9": "purple violet lilac lavender lila morado 🟣 💜",
        "ee6fa8": "pink magenta rosa 🩷 💖",
        "8a5a36": "brown bronze braun marron 🟤",
        "f4f1ea": "white ivory weiss blanc blanco 🤍",
        "15161a": "black ebony schwarz noir negro 🖤",
        "9a9da3": "grey gray silver grau gris",
    },
    "style": {
        "mono": "monochrome noir grayscale greyscale charcoal pencil ink schwarzweiss",
        "sepia": "sepia vintage retro antique daguerreotype",
        "pastel": "pastel soft gentle cute kawaii delicate peaceful watercolor"
        " watercolour aquarelle",
        "vivid": "vivid vibrant colorful colourful psychedelic surreal pop bright bunt",
        "synthwave": "synthwave vaporwave outrun 80s eighties",
        "neon": "neon cyberpunk hologram glowing",
        "calm": "calm still quiet serene tranquil ruhig still calme tranquilo",
        "pixel": "pixel pixelart 8bit voxel",
        "gloom": "dark gloomy sad melancholy horror scary haunted gothic lonely dystopian ruin",
    },
}


def fold(word: str) -> str:
    """``word`` without case, accents and variation selectors."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in plain if unicodedata.category(char) not in {"Mn", "Cf"})


def _index() -> dict[str, tuple[Meaning, ...]]:
    index: dict[str, tuple[Meaning, ...]] = {}
    for kind, names in _WORDS.items():
        for name, words in names.items():
            for word in map(fold, words.split()):
                index[word] = (*index.get(word, ()), Meaning(kind, name))
    return index


_INDEX = _index()
_SYMBOLS = sorted(
    (word for word in _INDEX if not word[0].isascii() and not word[0].isalpha()),
    key=lambda symbol: (-len(symbol), symbol),
)
_PIECES = re.compile("|".join([*map(re.escape, _SYMBOLS), r"\w+"]))


def words(text: str) -> list[str]:
    """Return the folded words of ``text`` in order; every known emoji is a word of its own."""
    return _PIECES.findall(fold(text))


def meanings(word: str) -> tuple[Meaning, ...]:
    """Every sense of a folded word, its singular tried too; empty for an unknown one."""
    for form in (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("n")):
        if form in _INDEX:
            return _INDEX[form]
    return ()
