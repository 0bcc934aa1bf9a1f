# Points that the largest of correlated normals stays below, by mvtnorm (Genz and Bretz).
# Debian: apt-get install r-cran-mvtnorm
# Rscript tests/against/winner/mvtnorm.R > tests/against/winner/mvtnorm.csv, from the project's folder
suppressPackageStartupMessages(library(mvtnorm))
set.seed(20261201)
cat("# R", as.character(getRversion()), "mvtnorm", as.character(packageVersion("mvtnorm")), "\n")
cat("case,n,prob,bound,corr\n")
equal <- function(n, r) { m <- matrix(r, n, n); diag(m) <- 1; m }
drawn <- function(n, shared, signs) {
  a <- matrix(rnorm(n * n), n)
  cov2cor(shared * outer(signs, signs) + a %*% t(a) + 0.3 * diag(n))
}
cases <- list(
  "pair, negative" = equal(2, -0.7), "control in common" = equal(5, 0.5),
  "negative" = equal(4, -0.3), "any, 3" = drawn(3, 0, rep(1, 3)), "any, 6" = drawn(6, 0, rep(1, 6)),
  "one shock" = drawn(5, 80, rep(1, 5)), "one shock, signs" = drawn(5, 80, c(1, -1, 1, -1, 1)),
  "any, 10" = drawn(10, 1, rep(1, 10))
)
for (case in names(cases)) for (prob in c(0.9, 0.975)) {
  corr <- cases[[case]]
  exact <- GenzBretz(maxpts = 2e5, abseps = 1e-6, releps = 0)
  below <- function(c) pmvnorm(upper = rep(c, nrow(corr)), corr = corr, algorithm = exact)[1] - prob
  bound <- uniroot(below, c(1, 4.5), tol = 1e-6)$root
  cat(sprintf("\"%s\",%d,%g,%.8f,%s\n", case, nrow(corr), prob, bound,
              paste(sprintf("%.15g", corr), collapse = " ")))
}
