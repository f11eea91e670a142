"""Pictures know no measure; that the records here are those of the measures is seen here."""

from made_up import FIELDS, PICTURES

from resnet_dyn.reports import measures


def test_the_records_of_these_tests_have_the_fields_of_those_of_the_measures():
    fields = {name: measure.record._fields for name, measure in measures.MEASURES.items()}
    assert {name: set(words.split()) for name, words in FIELDS.items()} == {
        name: set(names) for name, names in fields.items()
    }


def test_every_measure_has_its_picture():
    assert {name: row.picture.draw for name, row in measures.MEASURES.items()} == PICTURES
