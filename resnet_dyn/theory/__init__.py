"""What the virtual ensemble should be: the equations of Littwin & Wolf (2016) as functions.

Paper                       Module               Functions
eq 13, 16  path weights     path_weights         log_path_weights, log_z, depth_moments, band_mass,
                                                 log_path_weights_from_gains (gains that differ)
           beta of a law    fits                 fit_beta
Theorem 1  dominant length  path_weights         argmax_set
                            effective_depth      argmax_gap
Theorem 2  concentration    effective_depth      asymptotic_moments, relative_entropy,
                                                 log_tail_bounds
Lemma 4    scale and depth  effective_depth      scale_window, scale_for_depth, beta_of_scale
eq 19      slopes in C      effective_depth      log_weight_slopes, mean_depth_slope
eq 20      batch norm       batch_norm_depth     activation_moments, branch_probabilities,
                                                 mean_depth, depth_law, ewens_moments, depth_bound
                            network_depth        power_gains, mean_depth (from blocks and gammas)
eq 21      two-path loss    gamma_growth         two_path_loss, hypotheses
Theorem 3  gammas grow      gamma_growth         growth, growth_condition
Theorem 4  scale, eq 25     gamma_growth         scale_gradient, stationary_scale
eq 26-28   spin glass       spin_glass           energy, riemannian_gradient, riemannian_hessian
                            trajectory_sampling  exact draws along a path, without tensors
eq 30      critical points  kac_rice             expected_critical_points (finite Lambda)
                            critical_points      descent, and a search that counts them
eq 31      complexity       complexity           theta, theta_at_energy, ground_energy,
Theorem 5                                        threshold_energies, moments, beta_star

Depth laws run over path lengths r = 1..p at index r - 1; gains are b_2..b_p, so p - 1 numbers. A
mixture is a mapping {r: eps_r^2}. Path weights and the spin glass are JAX, in the caller's dtype;
batch norm, fits, complexity and Kac-Rice are host functions in NumPy float64. Nothing here knows a
network, and this package imports nothing until a module is asked for.
"""
