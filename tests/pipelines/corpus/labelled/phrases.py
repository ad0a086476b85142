"""Sentences of the six locales: prose, and the frames in which items and look-alikes stand."""

from collections.abc import Mapping
from types import MappingProxyType

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT")

_ENGLISH = (
    "The committee met again in 2019 and agreed on most of the points that had been left open.",
    "About 12 percent of the readers answered within a week; the others needed two reminders.",
    "She was born into a family of printers and kept the workshop until the end of the war.",
    "Please keep the valves closed until the pressure falls below 3.5 bar.",
    "We have called this method after its inventor, who described it in chapter 4.",
    "No token of thanks was ever more welcome than the key to the old library.",
)
PROSE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": _ENGLISH,
        "en_GB": _ENGLISH,
        "de_DE": (
            "Der Ausschuss tagte 2019 erneut und einigte sich über die meisten offenen Punkte.",
            "Rund 12 Prozent der Leser antworteten binnen einer Woche, die übrigen nach zwei Erinnerungen.",
            "Er wurde in eine Familie von Druckern geboren und führte die Werkstatt bis Kriegsende.",
            "Die Ventile bleiben geschlossen, bis der Druck unter 3,5 bar fällt.",
            "Am Telefon erfuhr niemand, dass die Lieferung schon am 4. angekommen war.",
        ),
        "fr_FR": (
            "Le comité s'est réuni de nouveau en 2019 et s'est accordé sur la plupart des points.",
            "Environ 12 pour cent des lecteurs ont répondu en une semaine, les autres après deux rappels.",
            "Il est né dans une famille d'imprimeurs et garda l'atelier jusqu'à la fin de la guerre.",
            "Gardez les vannes fermées jusqu'à ce que la pression descende sous 3,5 bar.",
            "Le téléphone sonna longtemps, mais personne ne vint avant 18 h 30.",
        ),
        "es_ES": (
            "El comité volvió a reunirse en 2019 y acordó la mayor parte de los puntos pendientes.",
            "Cerca del 12 por ciento de los lectores respondió en una semana; el resto, tras dos avisos.",
            "Nació en una familia de impresores y llevó el taller hasta el final de la guerra.",
            "Mantenga cerradas las válvulas hasta que la presión baje de 3,5 bar.",
            "El teléfono sonó largo rato, pero nadie acudió antes de las 18:30.",
        ),
        "it_IT": (
            "Il comitato si riunì di nuovo nel 2019 e si accordò sulla maggior parte dei punti.",
            "Circa il 12 per cento dei lettori rispose entro una settimana, gli altri dopo due solleciti.",
            "Era nato in una famiglia di tipografi e tenne la bottega fino alla fine della guerra.",
            "Tenete chiuse le valvole finché la pressione non scende sotto 3,5 bar.",
            "Il telefono squillò a lungo, ma nessuno arrivò prima delle 18:30.",
        ),
    }
)

# Where an item `{}` stands, by kind; kinds that are not here stand in the frames of `ANY`.
PHONE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("Call {} after nine.", "Phone: {}", "Anna Miller\n{}\nSpringfield", "The front desk answers at {}."),
        "en_GB": ("Ring us on {}.", "Tel. {}", "Anna Miller\n{}\nLeeds", "Our mobile is {}, as before."),
        "de_DE": ("Rufen Sie {} an.", "Tel.: {}", "Anna Müller\n{}\nBremen", "Mobil erreichen Sie ihn unter {}."),
        "fr_FR": ("Appelez le {} demain.", "Tél. : {}", "Anne Meunier\n{}\nLyon", "Son portable est le {}."),
        "es_ES": ("Llame al {} mañana.", "Teléfono: {}", "Ana Molina\n{}\nMadrid", "Su móvil es el {}."),
        "it_IT": ("Chiamare il {} domani.", "Tel. {}", "Anna Molinari\n{}\nTorino", "Il suo cellulare è {}."),
    }
)
BIRTH_DATE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("Date of birth: {}", "She was born in Ohio on {}.", "DOB {}", "Her birthday is {}."),
        "en_GB": ("Date of Birth: {}", "He was born on {} in York.", "D.O.B. {}", "| Born | {} |"),
        "de_DE": ("geb. {}", "Geburtsdatum: {}", "Sie wurde am {} in Kiel geboren.", "Geboren am {} in Ulm."),
        "fr_FR": ("Date de naissance : {}", "Né le {} à Lyon.", "Elle est née à Brest le {}.", "née le {}"),
        "es_ES": ("Fecha de nacimiento: {}", "Nacido el {} en Vigo.", "Ana nació en Soria el {}.", "Nacida el {}"),
        "it_IT": ("Data di nascita: {}", "Nato a Bari il {}.", "È nata il {} a Pisa.", "nato il {}"),
    }
)
ANY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("Please use {} for this.", "It reads {} there.", "{}", "Before: {}; after: none."),
        "en_GB": ("Please use {} for this.", "It reads {} there.", "{}", "Before: {}; after: none."),
        "de_DE": ("Bitte verwenden Sie {} dafür.", "Dort steht {}.", "{}", "Vorher: {}; nachher: nichts."),
        "fr_FR": ("Veuillez utiliser {} pour cela.", "On y lit {}.", "{}", "Avant : {} ; après : rien."),
        "es_ES": ("Utilice {} para esto.", "Allí pone {}.", "{}", "Antes: {}; después: nada."),
        "it_IT": ("Usare {} per questo.", "Vi si legge {}.", "{}", "Prima: {}; dopo: niente."),
    }
)

# Words before numbers that are nobody's telephone.
ORDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("Order {}", "Part no. {}", "Invoice #{}", "Ticket {}"),
        "en_GB": ("Order {}", "Part no. {}", "Invoice {}", "Serial number {}"),
        "de_DE": ("Bestellnummer {}", "Artikel-Nr. {}", "Rechnung {}", "Seriennummer {}"),
        "fr_FR": ("Commande n° {}", "Réf. {}", "Facture {}", "Numéro de série {}"),
        "es_ES": ("Pedido {}", "Ref. {}", "Factura {}", "Número de serie {}"),
        "it_IT": ("Ordine {}", "Rif. {}", "Fattura {}", "Numero di serie {}"),
    }
)
MEETING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("The contract of {} stands.", "Released on {}.", "Valid until {}"),
        "en_GB": ("The contract of {} stands.", "Published {}.", "Valid until {}"),
        "de_DE": ("Der Vertrag vom {} gilt.", "Veröffentlicht am {}.", "Gültig bis {}"),
        "fr_FR": ("Le contrat du {} reste valable.", "Publié le {}.", "Valable jusqu'au {}"),
        "es_ES": ("El contrato del {} sigue vigente.", "Publicado el {}.", "Válido hasta {}"),
        "it_IT": ("Il contratto del {} resta valido.", "Pubblicato il {}.", "Valido fino al {}"),
    }
)
