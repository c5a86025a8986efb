"""Sentences that no player here understands: other languages, and English that asks for nothing that can be done.

`TRAINING` is what lessons show; `HELD_OUT` has other sentences, for evaluation alone, and six languages more.
"""

from __future__ import annotations

TRAINING: dict[str, tuple[str, ...]] = {
    "german": (
        "geh zum roten schlüssel", "nimm den blauen totenkopf", "öffne bitte die tür", "schau nach oben",
        "wo ist der grüne schlüssel", "schieß auf den dämon", "bleib stehen und warte", "dreh dich nach links um",
        "kannst du mir die karte bringen", "drücke den schalter an der wand", "heute ist schönes wetter draußen",
        "ich habe keine zeit für dich", "lauf in das nächste zimmer", "heb die rüstung vom boden auf",
    ),
    "french": (
        "va vers la clé rouge", "prends le crâne bleu", "ouvre la porte s'il te plaît", "regarde le plafond",
        "où se trouve la torche verte", "tire sur le démon", "ne bouge pas et attends", "tourne à gauche",
        "apporte moi la carte", "appuie sur le bouton du mur", "il fait très beau aujourd'hui",
        "je ne sais pas quoi dire",
        "entre dans la pièce suivante", "ramasse l'armure par terre",
    ),
    "spanish": (
        "ve a la llave roja", "coge la calavera azul", "abre la puerta por favor", "mira hacia arriba",
        "dónde está la antorcha verde", "dispara al demonio", "quédate quieto y espera", "gira a la izquierda",
        "tráeme el mapa", "pulsa el interruptor de la pared", "hoy hace muy buen tiempo", "no tengo ganas de trabajar",
        "entra en la habitación siguiente", "recoge la armadura del suelo",
    ),
    "italian": (
        "vai alla chiave rossa", "prendi il teschio blu", "apri la porta per favore", "guarda in alto",
        "dove si trova la torcia verde", "spara al demone", "resta fermo e aspetta", "gira a sinistra",
        "portami la mappa", "premi l'interruttore sul muro", "oggi è una bella giornata", "non ho voglia di lavorare",
        "entra nella stanza vicina", "raccogli l'armatura da terra",
    ),
    "dutch": (
        "ga naar de rode sleutel", "pak de blauwe schedel", "doe de deur open alsjeblieft", "kijk naar boven",
        "waar is de groene fakkel", "schiet op de duivel", "blijf staan en wacht even", "draai je naar links",
        "breng mij de kaart", "druk op de knop aan de muur", "het is mooi weer vandaag", "ik heb geen tijd voor jou",
    ),
    "nonsense": (
        "the prime minister resigned on monday", "my sister studies chemistry in boston", "prices rose by nine percent",
        "he wrote a long letter to his lawyer", "the concert was cancelled because of rain", "to be or not to be",
        "what is the capital of france?", "how much is twelve times thirty?", "tell me a joke about penguins",
        "book two tickets for the opera", "translate this poem into latin", "who won the world cup in 1990?",
        "i had fish for dinner yesterday", "the committee approved the budget", "play some jazz",
        "asdf jkl qwer", "blah blah blah", "lorem ipsum dolor sit amet", "xyzzy plugh", "hmm hmm hmm",
        "please file my tax return", "cook spaghetti for six people", "the battery is almost empty",
        "wash the dishes and iron the shirts", "she sells sea shells", "fax the contract to the office",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "german": (
        "hol mir den gelben schlüssel", "geh zur fackel", "mach die tür auf", "töte den zombie", "such das fass",
        "stell dich neben die säule", "sieh dir den boden an", "nimm zuerst die maske und geh dann zur lampe",
        "bring mir bitte die blaue karte", "wie spät ist es gerade",
    ),
    "french": (
        "donne moi la clé jaune", "marche jusqu'à la torche", "tue le zombie", "cherche le tonneau", "lève les yeux",
        "arrête toi près de la colonne", "d'abord le masque, ensuite la lampe", "quelle heure est il maintenant",
        "avance jusqu'à l'arbre", "touche le pilier vert",
    ),
    "spanish": (
        "dame la llave amarilla", "camina hasta la antorcha", "mata al zombi", "busca el barril", "baja la mirada",
        "ponte al lado de la columna", "primero la máscara y luego la lámpara", "qué hora es ahora mismo",
        "acércate al árbol", "toca el pilar verde",
    ),
    "italian": (
        "dammi la chiave gialla", "cammina fino alla torcia", "uccidi lo zombie", "cerca il barile",
        "abbassa lo sguardo",
        "mettiti accanto alla colonna", "prima la maschera e poi la lampada", "che ore sono adesso",
        "avvicinati all'albero", "tocca il pilastro verde",
    ),
    "portuguese": (
        "vai até à chave vermelha", "apanha a caveira azul", "abre a porta", "olha para cima", "mata o demónio",
        "fica parado", "carrega no botão da parede", "onde está a tocha verde", "traz me o mapa",
        "hoje está muito calor",
    ),
    "swedish": (
        "gå till den röda nyckeln", "ta upp den blå skallen", "öppna dörren", "titta upp i taket", "skjut demonen",
        "stå stilla", "tryck på knappen på väggen", "var är den gröna facklan", "hämta kartan åt mig",
        "det regnar idag",
    ),
    "polish": (
        "idź do czerwonego klucza", "podnieś niebieską czaszkę", "otwórz drzwi", "spójrz w górę", "zastrzel demona",
        "stój spokojnie", "naciśnij przycisk na ścianie", "gdzie jest zielona pochodnia", "przynieś mi mapę",
        "dzisiaj jest zimno",
    ),
    "turkish": (
        "kırmızı anahtara git", "mavi kafatasını al", "kapıyı aç", "yukarı bak", "iblisi vur", "kıpırdamadan dur",
        "duvardaki düğmeye bas", "yeşil meşale nerede", "bana haritayı getir", "bugün hava çok güzel",
    ),
    "finnish": (
        "mene punaisen avaimen luo", "poimi sininen kallo", "avaa ovi", "katso ylös", "ammu demonia", "pysy paikallasi",
        "paina seinän nappia", "missä vihreä soihtu on", "tuo minulle kartta", "tänään sataa lunta",
    ),
    "russian": (
        "иди к красному ключу", "возьми синий череп", "открой дверь", "посмотри вверх", "застрели демона",
        "стой на месте", "нажми кнопку на стене", "где зелёный факел", "принеси мне карту", "сегодня холодно",
    ),
    "nonsense": (
        "the museum opens at nine on weekdays", "our neighbours bought a caravan", "she plays the violin every evening",
        "interest rates will fall in autumn", "the recipe needs three eggs and some flour",
        "what is the meaning of life?",
        "how old is the universe?", "who painted the mona lisa?", "sing me a lullaby", "order a pizza with mushrooms",
        "send an email to my boss", "remind me of the dentist tomorrow", "compute the square root of two",
        "write an essay about democracy", "schedule a meeting with the auditors", "fjdk slaq woei",
        "bla di bla di blub",
        "tralala hopsasa", "zork frobnicate quux", "grmpf", "wibble wobble", "snorkel umbrella parliament whisper",
        "invoice algebra marmalade tuesday", "philosophy seldom bakes bread", "colourless ideas sleep furiously",
        "my knee hurts when it rains", "the train to vienna was late again", "he forgot his umbrella in the taxi",
        "inflation worries the central bank", "they married in june", "water boils at a hundred degrees",
        "photosynthesis needs sunlight", "subtract seven from nineteen", "spell the word rhinoceros",
        "recommend a good novel", "who is the president of brazil?", "convert ten miles to kilometres",
        "the jury could not agree", "milk, butter, sugar and yeast", "good evening ladies and gentlemen",
        "paint the fence on saturday", "mow the lawn", "peel the potatoes", "knit a scarf", "feed the hamster",
        "water the plants", "park the car in the garage", "print the report twice", "call a plumber",
        "tune the piano", "vote for the mayor", "pay the electricity bill", "bake a birthday cake",
        "sharpen the pencils", "charge the phone", "brush your teeth", "catch the next bus", "learn portuguese",
        "solve this equation for y", "diagnose the patient", "sue the insurance company", "photograph the wedding",
        "rent a tuxedo", "donate blood", "milk the cow", "harvest the wheat", "repair the dishwasher",
        "vaccinate the dog",
        "publish the findings", "negotiate a ceasefire", "adopt the resolution", "debug the compiler",
        "quarterly revenue exceeded expectations", "the senate postponed the hearing", "jupiter has many moons",
        "gluten free noodles", "once upon a midnight dreary", "abracadabra", "uga uga", "qwertz uiop",
        "mmmh", "pfft", "eins zwei drei vier", "un deux trois quatre", "hocus pocus fidibus",
        "oompa loompa doompety doo",
        "rain, rain, go away", "ninety nine bottles of beer", "roses are fragrant and poems are dull",
        "the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs",
        "sphinx of black quartz judge my vow", "supercalifragilisticexpialidocious", "e equals m c squared",
        "in vino veritas", "carpe diem", "cogito ergo sum", "c'est la vie", "hasta la vista", "que sera sera",
    ),
}  # fmt: skip


def sentences(table: dict[str, tuple[str, ...]]) -> list[str]:
    """All sentences of a table."""
    return [text for texts in table.values() for text in texts]
