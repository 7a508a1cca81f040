"""The words of the simulated shop: countries and names, goods, campaigns and browsers. No randomness here."""

from typing import NamedTuple


class Country(NamedTuple):
    """Where a share of the customers lives, and what their data look like."""

    code: str
    weight: float
    locale: str
    zones: tuple[tuple[str, float], ...]
    phone: str  # ranges that regulators set aside for fiction; # stands for a digit
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COUNTRIES = (
    Country(
        "GB",
        0.46,
        "en-GB",
        (("Europe/London", 1.0),),
        "+44 7700 900###",
        _words("Olivia Amelia Isla Emily Grace Sophie Charlotte Ruby Hannah Zara George Harry Jack Oliver James")
        + _words("Thomas William Daniel Samuel Imran"),
        _words("Smith Jones Taylor Brown Williams Wilson Johnson Davies Patel Robinson Wright Thompson Evans")
        + _words("Walker White Roberts Green Hall Wood Khan O'Brien Campbell"),
    ),
    Country(
        "DE",
        0.12,
        "de-DE",
        (("Europe/Berlin", 1.0),),
        "+49 30 23125 ###",
        _words("Anna Lena Marie Sophie Laura Katharina Jürgen Björn Lukas Felix Jonas Paul Maximilian Stefan"),
        _words("Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schäfer Koch Bauer Richter Groß Wolf"),
    ),
    Country(
        "FR",
        0.10,
        "fr-FR",
        (("Europe/Paris", 1.0),),
        "+33 6 39 98 ## ##",
        _words("Camille Léa Manon Chloé Inès Élodie Amélie Louis Hugo Théo François Gabriel Raphaël Antoine"),
        _words("Martin Bernard Dubois Thomas Robert Richard Petit Durand Leroy Moreau Lefèvre Garnier Fabre"),
    ),
    Country(
        "IE",
        0.06,
        "en-IE",
        (("Europe/Dublin", 1.0),),
        "+353 20 91# ####",
        _words("Aoife Ciara Niamh Saoirse Siobhán Emma Conor Seán Cian Oisín Patrick Liam"),
        _words("Murphy Kelly O'Sullivan Walsh O'Connor Byrne Ryan Doyle McCarthy Gallagher"),
    ),
    Country(
        "NL",
        0.05,
        "nl-NL",
        (("Europe/Amsterdam", 1.0),),
        "+31 85 000 ####",
        _words("Emma Sanne Lotte Fleur Anouk Femke Daan Bram Sem Lars Thijs Ruben"),
        ("de Jong", "Jansen", "de Vries", "van den Berg", "Bakker", "Visser", "Smit", "Meijer", "Mulder"),
    ),
    Country(
        "ES",
        0.05,
        "es-ES",
        (("Europe/Madrid", 0.95), ("Atlantic/Canary", 0.05)),
        "+34 600 000 ###",
        _words("Lucía María Paula Sofía Carmen Elena José Javier Pablo Álvaro Íñigo Manuel"),
        _words("García Fernández González Rodríguez López Martínez Sánchez Pérez Muñoz Ibáñez"),
    ),
    Country(
        "US",
        0.05,
        "en-US",
        (
            ("America/New_York", 0.45),
            ("America/Chicago", 0.25),
            ("America/Denver", 0.1),
            ("America/Los_Angeles", 0.2),
        ),
        "+1 212 555 01##",
        _words("Ashley Jessica Emily Madison Hannah Maria Michael Joshua Matthew Andrew Tyler Carlos"),
        _words("Smith Johnson Williams Brown Jones Garcia Miller Davis Nguyen Anderson Moore Jackson"),
    ),
    Country(
        "IT",
        0.04,
        "it-IT",
        (("Europe/Rome", 1.0),),
        "+39 06 0000 ####",
        _words("Giulia Martina Chiara Sara Francesca Niccolò Luca Matteo Andrea Marco Alessandro"),
        _words("Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco D'Angelo"),
    ),
    Country(
        "SE",
        0.03,
        "sv-SE",
        (("Europe/Stockholm", 1.0),),
        "+46 70 174 06 ##",
        _words("Elsa Maja Linnéa Astrid Freja Åsa Oskar Erik Lars Gustav Björn"),
        _words("Andersson Johansson Karlsson Nilsson Eriksson Larsson Lindström Sjöberg Åkesson"),
    ),
    Country(
        "PL",
        0.02,
        "pl-PL",
        (("Europe/Warsaw", 1.0),),
        "+48 500 000 ###",
        _words("Anna Katarzyna Małgorzata Agnieszka Zofia Piotr Paweł Michał Łukasz Tomasz"),
        _words("Nowak Kowalski Wiśniewski Wójcik Kamiński Lewandowski Zieliński Dąbrowski"),
    ),
    Country(
        "AU",
        0.02,
        "en-AU",
        (("Australia/Sydney", 0.6), ("Australia/Perth", 0.2), ("Australia/Brisbane", 0.2)),
        "+61 491 570 ###",
        _words("Charlotte Matilda Sienna Mia Ruby Jack Noah Cooper Lachlan Ethan"),
        _words("Smith Jones Williams Brown Wilson Taylor Nguyen Kelly Harris"),
    ),
)

ZONES = tuple(zone for country in COUNTRIES for zone, _ in country.zones)

MAIL_DOMAINS = ("example.com", "example.org", "example.net")


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


class Category(NamedTuple):
    """A shelf of the shop: its name, the median price in pounds, and what stands on it."""

    name: str
    median_price: float
    things: tuple[str, ...]


CATEGORIES = (
    Category(
        "Kitchen",
        13.0,
        _list("Teapot, Mixing Bowl, Cake Stand, Jam Jar Set, Milk Jug, Egg Cup Pair, Bread Bin, Biscuit Tin")
        + _list("Measuring Spoons, Tea Towel, Apron, Coffee Press, Butter Dish, Recipe Box, Oven Glove"),
    ),
    Category(
        "Home",
        21.0,
        _list("Wall Clock, Photo Frame, Mirror, Cushion, Doorstop, Coat Hook, Storage Basket, Table Lamp")
        + _list("Throw, Vase, Letter Rack, Key Cupboard, Draught Excluder, Bookend Pair, Trinket Dish"),
    ),
    Category(
        "Garden",
        16.0,
        _list("Watering Can, Plant Pot, Bird Feeder, Trowel, Wind Chime, Herb Planter, Kneeling Mat, Seed Tin")
        + _list("Lantern, Bird Bath, Parasol, String Lights, Garden Gloves, Twine Dispenser, Deckchair Sling"),
    ),
    Category(
        "Stationery",
        6.0,
        _list("Notebook, Card Set, Wrapping Paper, Pencil Case, Desk Calendar, Sticker Sheet, Ink Stamp, Letter Set")
        + _list("Bookmark, Photo Album, Ribbon Reel, Gift Tag Set, Fountain Pen, Ruler, Memo Board"),
    ),
    Category(
        "Toys",
        12.0,
        _list("Spinning Top, Building Blocks, Jigsaw, Doll House, Skipping Rope, Kite, Puppet, Yo-yo")
        + _list("Paint Box, Rocking Horse, Marble Run, Toy Train, Tea Set, Memory Game, Night Light"),
    ),
    Category(
        "Bags",
        24.0,
        _list("Lunch Bag, Shopper, Rucksack, Wash Bag, Purse, Picnic Bag, Tote, Weekend Bag")
        + _list("Satchel, Shoe Bag, Pouch, Laptop Sleeve, Suitcase, Belt Bag, Beach Bag"),
    ),
    Category(
        "Candles",
        9.0,
        _list("Scented Candle, Tealight Holder, Pillar Candle, Candlestick, Incense Box, Wax Melt Set")
        + _list("Oil Burner, Dinner Candles, Travel Candle, Hurricane Lamp, Candle Snuffer, Room Spray")
        + _list("Reed Diffuser, Candle Plate, Match Pot"),
    ),
    Category(
        "Jewellery",
        27.0,
        _list("Necklace, Bracelet, Earrings, Brooch, Ring, Charm, Cufflinks, Jewellery Box")
        + _list("Hair Comb, Anklet, Locket, Pendant, Bangle, Hat Pin, Watch Strap"),
    ),
)

ADJECTIVES = _words(
    "Enamel Vintage Ceramic Oak Copper Linen Striped Spotted Floral Glass Woven Painted Regency Retro Porcelain"
) + _words("Heart Ivory Rose Sage Sky Willow Star Bamboo Folk Paisley Marble Slate Bluebird Harvest Coastal")

LOYALTY_TIERS = ("none", "bronze", "silver", "gold")
LOYALTY_PENCE = (8_000, 25_000, 60_000)  # spent so far, to be bronze, silver, gold

CONSENT_STATUSES = ("none", "granted", "withdrawn")
CONSENT_SOURCES = ("sign_up_form", "checkout", "preference_centre", "unsubscribe_link")

ORDER_STATUSES = ("placed", "shipped", "delivered", "cancelled", "refunded", "partially_refunded")
REFUND_REASONS = ("damaged", "wrong item", "not as described", "changed mind", "arrived late")

SITE = "https://shop.example.com"


class Source(NamedTuple):
    """Where a visit comes from: the referrer and, where somebody paid for it, the campaign."""

    weight: float
    referrer: str
    campaign: tuple[str, str, str] | None


SOURCES = (
    Source(0.46, "", None),
    Source(0.24, "https://www.google.com/", None),
    Source(0.03, "https://www.bing.com/", None),
    Source(0.11, "https://www.google.com/", ("google", "cpc", "brand")),
    Source(0.05, "https://www.google.com/", ("google", "cpc", "gifts")),
    Source(0.07, "https://www.facebook.com/", ("facebook", "paid_social", "lookalike")),
    Source(0.04, "https://blog.example.net/", ("partner-blog", "affiliate", "always-on")),
)
NEWSLETTER = len(SOURCES)  # visits from a mail: the campaign is the mail's


class Theme(NamedTuple):
    """What a newsletter is about, and the subject lines that are tried for it."""

    name: str
    subjects: tuple[str, ...]


THEMES = (
    Theme("New arrivals", ("New in this week", "{name}, new in this week", "Seen what has just come in?")),
    Theme("Back in stock", ("Back in stock", "Back in stock, and going fast", "{name}, it is back in stock")),
    Theme("Gifts under £20", ("Gifts under £20", "Only today: gifts under £20", "Looking for a gift under £20?")),
    Theme(
        "Our favourites this week",
        ("Our favourites this week", "★ Our favourites this week", "{name}, our favourites for you"),
    ),
    Theme("Made for {category}", ("Made for {category}", "{name}, made for {category}", "★ Made for {category}")),
    Theme("The {category} edit", ("The {category} edit", "Your {category} edit, {name}", "Have you seen {category}?")),
    Theme(
        "Last chance: {category}",
        ("Last chance: 10 % off {category}", "10 % off {category}", "{name}, 10 % off {category} ends tonight"),
    ),
    Theme("Ideas for the weekend", ("Ideas for the weekend", "{name}, ideas for the weekend", "Plans for Saturday?")),
)
WELCOME_THEME = Theme("Welcome", ("Welcome to the shop", "Welcome, {name}"))
BIRTHDAY_THEME = Theme("Birthday", ("Happy birthday, {name}", "★ 10 % off for your birthday"))

DESKTOP_AGENTS = (
    "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534.30 (KHTML, like Gecko) Chrome/12.0.742.91 Safari/534.30",
    "Mozilla/5.0 (Windows NT 6.1; rv:5.0) Gecko/20100101 Firefox/5.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_6_8) AppleWebKit/533.21.1 (KHTML, like Gecko) Version/5.0.5"
    " Safari/533.21.1",
    "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)",
)
MOBILE_AGENTS = (
    "Mozilla/5.0 (iPhone; U; CPU iPhone OS 4_3_3 like Mac OS X; en-us) AppleWebKit/533.17.9 (KHTML, like Gecko)"
    " Version/5.0.2 Mobile/8J2 Safari/6533.18.5",
    "Mozilla/5.0 (Linux; U; Android 2.3.3; en-gb; Nexus One) AppleWebKit/533.1 (KHTML, like Gecko) Version/4.0"
    " Mobile Safari/533.1",
    "Mozilla/5.0 (iPad; U; CPU OS 4_3_3 like Mac OS X; en-us) AppleWebKit/533.17.9 (KHTML, like Gecko)"
    " Version/5.0.2 Mobile/8J2 Safari/6533.18.5",
)
BOT_AGENTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/2.0; +http://ahrefs.com/robot/)",
    "python-requests/0.5.0",
    DESKTOP_AGENTS[0],  # one that hides: only its pace gives it away
)
AGENTS = DESKTOP_AGENTS + MOBILE_AGENTS + BOT_AGENTS
FIRST_MOBILE = len(DESKTOP_AGENTS)
FIRST_BOT = len(DESKTOP_AGENTS) + len(MOBILE_AGENTS)
