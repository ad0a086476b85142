"""Check digits, and the other rules that tell an issued number from any number: of digits without separators."""

from datetime import date

_ALPHABET = {character: value for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
# Values of the odd places of a codice fiscale, 0-9 then A-Z: Decreto ministeriale 23 dicembre 1976, table B.
_CODICE_FISCALE_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def mod_97(characters: str) -> int:
    """Return letters (A is 10, Z is 35) and digits, read as one number, modulo 97: ISO/IEC 7064, MOD 97-10."""
    return int("".join(str(_ALPHABET[character]) for character in characters)) % 97


def is_luhn(digits: str) -> bool:
    """Tell if the last digit is the check digit of ISO/IEC 7812-1, annex B."""
    odd = sum(int(digit) for digit in digits[-1::-2])
    even = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (odd + even) % 10 == 0 and int(digits) > 0


def is_ssn(digits: str) -> bool:
    """United States: the areas, groups and serials that the Social Security Administration never issues are none."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_steuer_id(digits: str) -> bool:
    """Germany, § 139b AO: one digit stands twice or thrice in the first ten, the rest once; ISO/IEC 7064, MOD 11,10."""
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in {2, 3} or counts[-2] > 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(digits[10])


def is_nir(characters: str) -> bool:
    """France: the key is 97 less the number modulo 97; Corsica's 2A and 2B count as 19 and 18 (INSEE, NIR)."""
    number = characters[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(characters[13:])


def is_dni(characters: str) -> bool:
    """Spain, DNI and NIE: the letter is the number modulo 23; X, Y, Z of a NIE are 0, 1, 2 (Real Decreto 1553/2005)."""
    number = characters[:-1].translate({ord("X"): "0", ord("Y"): "1", ord("Z"): "2"})
    return _DNI_LETTERS[int(number) % 23] == characters[-1]


def is_codice_fiscale(characters: str) -> bool:
    """Italy: the last letter is the sum of the places' values modulo 26 (Decreto ministeriale 23 dicembre 1976)."""
    total = 0
    for place, character in enumerate(characters[:15]):
        value = _ALPHABET[character] - (10 if character.isalpha() else 0)
        total += _CODICE_FISCALE_ODD[value] if place % 2 == 0 else value
    return chr(ord("A") + total % 26) == characters[15]


def is_nino(characters: str) -> bool:
    """United Kingdom: prefixes that are never given out (HMRC, NIM39110)."""
    return characters[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def is_nhs_number(digits: str) -> bool:
    """England and Wales: weights 10 to 2, modulo 11 (NHS Data Dictionary, NHS NUMBER)."""
    check = 11 - sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    return check % 11 == int(digits[9]) and check != 10


def is_pesel(digits: str) -> bool:
    """Poland: a date of birth whose month tells the century, and weights 1, 3, 7, 9 (gov.pl, numer PESEL)."""
    month = int(digits[2:4])
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[month // 20]
    total = sum(weight * int(digit) for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), digits, strict=True))
    return total % 10 == 0 and is_date(century + int(digits[:2]), month % 20, int(digits[4:6]))


def is_bsn(digits: str) -> bool:
    """Netherlands: weights 9 to 2, then -1, modulo 11 (the «elfproef» of the burgerservicenummer)."""
    total = sum(weight * int(digit) for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True))
    return total % 11 == 0 and int(digits) > 0


def is_rijksregisternummer(digits: str) -> bool:
    """Belgium: 97 less the first nine digits modulo 97; from 2000 on a 2 stands before them (IBZ, Rijksregister)."""
    check = int(digits[9:])
    return check in {97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97}


def is_ahv(digits: str) -> bool:
    """Switzerland: country 756 and the check digit of an EAN-13 (ZAS, AHV-Nummer)."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits.startswith("756") and total % 10 == 0


def is_personnummer(digits: str) -> bool:
    """Sweden: a month and a day (60 more for a co-ordination number), and Luhn (Skatteverket, SKV 704)."""
    day = int(digits[4:6]) % 60
    return is_luhn(digits) and is_date(2000 + int(digits[:2]), int(digits[2:4]), day)


def is_nif(digits: str) -> bool:
    """Portugal: weights 9 to 2, modulo 11 (Decreto-Lei 463/79, número de identificação fiscal)."""
    remainder = sum(weight * int(digit) for weight, digit in zip(range(9, 1, -1), digits, strict=False)) % 11
    return digits[0] in "123" and int(digits[8]) == (0 if remainder < 2 else 11 - remainder)


def is_article_number(digits: str) -> bool:
    """Tell if ten digits are an ISBN (ISO 2108: weights 10 to 1, modulo 11), or twelve a UPC-A (GS1: weights 3, 1)."""
    values = [int(digit) for digit in digits]
    if len(values) == 10:
        return sum(weight * value for weight, value in zip(range(10, 0, -1), values, strict=True)) % 11 == 0
    return len(values) == 12 and (3 * sum(values[::2]) + sum(values[1::2])) % 10 == 0


def is_date(year: int, month: int, day: int) -> bool:
    """Tell if there is such a day."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
