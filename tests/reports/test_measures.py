"""The table of measures: every row is whole."""

from resnet_dyn.reports import measures


def test_every_row_has_a_picture_and_columns_that_are_explained():
    for name, measure in measures.MEASURES.items():
        assert measure.columns and callable(measure.picture.draw), name
        assert all(column.meaning for column in measure.columns)
        assert measure.options()  # every option has a default


def test_default_measures_are_in_the_table():
    assert set(measures.DEFAULT) <= set(measures.MEASURES)
