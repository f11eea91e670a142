"""resnet_dyn: the virtual ensemble of a residual network, in theory and in trained networks.

Axes in the names of arrays (`gates_ML` has masks, then blocks):

    S seeds      M masks      L blocks     B batch        T recorded steps
    H W image    C channels   K classes    R path lengths (r = 1..p at index r - 1)
    J numbers of deleted blocks or of swaps    N draws, norms, depths: what a docstring says

L blocks can be skipped; Veit et al.'s path length k = 0..L counts the branches that a path uses;
the paper's r = k + 1 counts the first layer too, so that its depth is p = L + 1 and k stands at
index k of an axis R.
"""

__version__ = '0.2.0'
