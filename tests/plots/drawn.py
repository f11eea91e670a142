"""What tests read of a picture: curves, bands and words by panel, and whether anything meets."""

import numpy as np
from matplotlib.backends import backend_agg
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.text import Annotation

from resnet_dyn.plots import style


def panel(fig, title):
    """The axes whose title begins so."""
    return next(axes for axes in fig.axes if axes.get_title(loc='left').startswith(title))


def line(axes, label):
    """The values (x, y) of the line with this label."""
    found = [line for line in axes.lines if line.get_label() == label]
    assert len(found) == 1, [line.get_label() for line in axes.lines]
    return found[0].get_xdata(), found[0].get_ydata()


def curves(axes):
    """y of the lines over x, without horizontal ones: one a step."""
    return [line.get_ydata() for line in axes.lines if line.get_transform() == axes.transData]


def finite(line):
    return np.isfinite(line.get_xydata()).all(1).any()


def words(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def footnote(fig):
    return fig._supxlabel.get_text().replace('\n', ' ')


def band(axes):
    """Lower and upper edges (2, X) of the one band of these axes."""
    (shade,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    (path,) = shade.get_paths()
    x = np.unique(path.vertices[:, 0])
    ys = [path.vertices[path.vertices[:, 0] == at, 1] for at in x]
    return np.array([[y.min() for y in ys], [y.max() for y in ys]])


def assert_apart(fig):
    """Lays the figure out: no words or panels meet, none leaves it, no axis ends in an offset."""
    canvas = backend_agg.FigureCanvasAgg(fig)
    fig.draw_without_rendering()
    with style.context():  # in which the number of ticks was chosen
        boxes = list(_boxes(fig, canvas.get_renderer()))
    for what, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, what
        assert box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1, what
    ends_N22 = np.array([box.get_points() for _, box in boxes])
    low_N2, high_N2 = ends_N22[:, 0], ends_N22[:, 0] + [0.98, 0.9] * np.diff(ends_N22, axis=1)[:, 0]
    meet_NN = (low_N2[:, None] <= high_N2).all(2)
    pairs = np.argwhere(np.triu(meet_NN & meet_NN.T, 1))
    assert not len(pairs), [(boxes[i][0], boxes[j][0]) for i, j in pairs]
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):
            assert axis.get_offset_text().get_text() == ''


def assert_all_inside(axes):
    """The limits hold all data, and there is a tick on either axis."""
    (x0, y0), (x1, y1) = axes.dataLim.get_points()
    for axis, low, high in ((axes.xaxis, x0, x1), (axes.yaxis, y0, y1)):
        first, last = sorted(axis.get_view_interval())
        assert not low < first - 1e-9 * abs(first) and not high > last + 1e-9 * abs(last)
        ticks = axis.get_majorticklocs()
        assert ((first <= ticks) & (ticks <= last)).any()


def _boxes(fig, renderer):
    """What must not meet, by name: panels, and words that are not inside of one."""
    for text in fig.texts:  # heading and footnote among them
        yield text.get_text(), text.get_window_extent(renderer)
    for i, axes in enumerate(fig.axes):
        yield f'panel {i}', axes.get_window_extent(renderer)
        texts = [axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts += _ticks(axes.xaxis) + _ticks(axes.yaxis)
        texts += [text for text in axes.texts if isinstance(text, Annotation)]
        if axes.get_legend() is not None:
            texts += axes.get_legend().get_texts()
        for text in texts:
            if text.get_text() and text.get_visible():
                yield f'panel {i}: {text.get_text()}', text.get_window_extent(renderer)


def _ticks(axis):
    """The labels of ticks that are drawn."""
    low, high = sorted(axis.get_view_interval())
    pairs = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    return [label for at, label in pairs if low <= at <= high and label.get_text()]
