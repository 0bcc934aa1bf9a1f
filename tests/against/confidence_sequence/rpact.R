# O'Brien-Fleming bounds and repeated confidence intervals by rpact.
# Rscript rpact.R > rpact.txt     (Debian: r-cran-rpact)
suppressPackageStartupMessages(library(rpact))
options(digits = 12)
cat("R", as.character(getRversion()), "rpact", as.character(packageVersion("rpact")), "\n")
for (sizes in list(c(1, 1), rep(1, 5), rep(1, 10), c(100, 300, 50, 550))) {
  for (size in c(0.05, 0.1)) {
    design <- getDesignGroupSequential(
      kMax = length(sizes), alpha = size / 2, sided = 1, typeOfDesign = "OF",
      informationRates = cumsum(sizes) / sum(sizes))
    two <- getDesignGroupSequential(
      kMax = length(sizes), alpha = size, sided = 2, typeOfDesign = "OF",
      informationRates = cumsum(sizes) / sum(sizes))
    cat("bounds", size, "sizes", sizes, "two-sided", format(two$criticalValues), "\n")
  }
}
design <- getDesignInverseNormal(kMax = 3, alpha = 0.05, sided = 2, typeOfDesign = "OF")
sizes <- list(c(60, 40), c(50, 50), c(30, 70))
events <- list(c(18, 14), c(14, 22), c(8, 33))
# rpact's own repeated intervals of a difference of means, with Welch's t in each of three waves.
one <- getDesignInverseNormal(kMax = 3, alpha = 0.025, sided = 1, typeOfDesign = "OF")
data <- getDataset(n1 = c(90, 120, 60), n2 = c(110, 80, 140), means1 = c(0.4, 0.1, 0.3),
                   means2 = c(0, 0.2, 0), stDevs1 = c(1, 1, 1), stDevs2 = c(1, 1, 1))
found <- getRepeatedConfidenceIntervals(one, data, normalApproximation = FALSE,
                                        equalVariances = FALSE)
cat("means low", format(found[1, ]), "high", format(found[2, ]), "\n")
# For rates, the combination by hand of rpact's critical values: Miettinen-Nurminen z of each wave by
# testing at delta, root where the combined z meets the bound.
mn <- function(s, n, d) {
  f <- function(p) { # minus log likelihood of rates p and p + d
    q <- p + d
    -(s[1] * log(p) + (n[1] - s[1]) * log(1 - p) + s[2] * log(q) + (n[2] - s[2]) * log(1 - q))
  }
  p <- optimize(f, c(max(0, -d) + 1e-10, min(1, 1 - d) - 1e-10), tol = 1e-12)$minimum
  q <- p + d
  v <- (p * (1 - p) / n[1] + q * (1 - q) / n[2]) * sum(n) / (sum(n) - 1)
  (s[2] / n[2] - s[1] / n[1] - d) / sqrt(v)
}
for (k in 1:3) {
  z <- function(d) sum(sapply(1:k, function(w) mn(events[[w]], sizes[[w]], d))) / sqrt(k)
  ends <- sapply(c(1, 0, -1), function(side)
    uniroot(function(d) z(d) - side * design$criticalValues[k], c(-0.99, 0.99), tol = 1e-12)$root)
  cat("interval", k, format(ends), "\n")
}
