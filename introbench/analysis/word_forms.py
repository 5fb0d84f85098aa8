"""Words of a text, and the regular English inflections of a word."""

import re

# Scripts that put no space between words: each of their characters counts as a word, or a sentence would be one.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"

# Signs at the end of a name belong to it: C++ is not the letter C.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:'[^\W{_UNSPACED}]+)*(?:[+#]+(?!\w))?")

_VOWELS = "aeiou"


def words_of(text: str) -> list[str]:
    """The words of a text in their order, folded to lower case; of scripts without spaces, each character."""
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


def inflections(word: str) -> set[str]:
    """A word, its singular if it looks like a plural, and that one's regular plural, -ed, -ing and -er.

    Spelling alone decides, so some forms are no words, which does no harm, and a few are others (news: new).
    """
    return {word} | {form for base in _singulars(word) or {word} for form in _forms(base)}


def _singulars(word: str) -> set[str]:
    if not word.endswith("s") or word.endswith(("ss", "us", "is")) or len(word) < 4:
        return set()
    singulars = {word[:-1]}
    if word.endswith("ies"):
        singulars.add(word[:-3] + "y")
    elif word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        singulars.add(word[:-2])
    return singulars


def _forms(word: str) -> set[str]:
    consonants = rf"[^{_VOWELS}\W]"
    if word.endswith("e"):
        return {word, word + "s", word + "d", word + "r", word[:-1] + "ing"}
    if re.search(rf"{consonants}y$", word):
        return {word, word[:-1] + "ies", word[:-1] + "ied", word[:-1] + "ier", word + "ing"}
    plurals = {word + "es"} if word.endswith(("s", "x", "z", "ch", "sh", "o")) else set()
    plurals.add(word + "s")
    # A single vowel before the last consonant doubles it in a word of one syllable, and in some longer ones.
    is_doubled = re.fullmatch(rf"(.*){consonants}[{_VOWELS}][^{_VOWELS}wxy\W]", word)
    stems = {word + word[-1]} if is_doubled else {word}
    if is_doubled and re.search(f"[{_VOWELS}]", is_doubled[1]):
        stems.add(word)
    return {word, *plurals, *(stem + ending for stem in stems for ending in ("ed", "ing", "er"))}


_IRREGULAR = (
    *(("mouse", "mice"), ("louse", "lice"), ("goose", "geese"), ("foot", "feet"), ("tooth", "teeth"), ("ox", "oxen")),
    *(("man", "men"), ("woman", "women"), ("child", "children"), ("person", "people"), ("die", "dice")),
    *(("cactus", "cacti"), ("fungus", "fungi"), ("crisis", "crises"), ("oasis", "oases"), ("thesis", "theses")),
)
"""Nouns with a plural that spelling does not tell."""


def forms_of_name(word: str) -> set[str]:
    """The forms in which a text may name a concept: singular and plural, irregular ones too, and -ed and -ing.

    A plural is a noun, and has no -ed and -ing: to be trained does not name trains. Nor does an -er name the thing.

    Args:
        word: A word in lower case.
    """
    forms = {word, *(form for pair in _IRREGULAR if word in pair for form in pair)}
    singulars = _singulars(word)
    for base in singulars or {word}:
        forms |= {form for form in _forms(base) if form == base or form.endswith("s")}
        if not singulars and word not in {plural for _, plural in _IRREGULAR}:
            forms |= {form for form in _forms(base) if form.endswith(("ed", "ing"))}
    if word.endswith("ves"):
        forms |= {word[:-3] + "f", word[:-3] + "fe"}
    elif word.endswith(("f", "fe")) and not word.endswith("ff"):
        forms.add(word.removesuffix("e")[:-1] + "ves")
    return forms
