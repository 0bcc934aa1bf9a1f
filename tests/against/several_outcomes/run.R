# Index of Anderson (2008), q values of Benjamini and Hochberg (1995), and sharpened q values of
# Benjamini, Krieger and Yekutieli (2006): by their definitions, and by a search over rates in steps
# of .001, as Anderson describes it. Base R alone.
# Rscript tests/against/several_outcomes/run.R, from the folder of the project
here <- "tests/against/several_outcomes"
write <- function(table, name) write.csv(table, file.path(here, name), row.names = FALSE)
number <- function(x) format(x, digits = 17, scientific = TRUE, trim = TRUE)

d <- read.csv(file.path(here, "data.csv"))
outcomes <- c("logins", "minutes", "complaints", "score")
sign <- c(1, 1, -1, 1)
y <- sweep(as.matrix(d[outcomes]), 2, sign, "*")
control <- y[d$arm == "control", ]
z <- sweep(y, 2, colMeans(control, na.rm = TRUE))
z <- sweep(z, 2, apply(control, 2, sd, na.rm = TRUE), "/")
# entries of the covariance over the units with both outcomes, around each outcome's own mean
e <- sweep(z, 2, colMeans(z, na.rm = TRUE))
S <- matrix(0, 4, 4)
for (m in 1:4) for (n in 1:4) {
  both <- !is.na(e[, m]) & !is.na(e[, n])
  S[m, n] <- sum(e[both, m] * e[both, n]) / (sum(both) - 1)
}
w <- rowSums(solve(S)) / sum(solve(S))
mean_of_known <- function(weights) apply(z, 1, function(row) {
  known <- !is.na(row)
  sum(weights[known] * row[known]) / sum(weights[known])
})
write(data.frame(outcome = outcomes, weight = number(w)), "weights.csv")
write(data.frame(inverse = number(mean_of_known(w)),
                 given = number(mean_of_known(c(2, 1, 1, 0) / 4))), "index.csv")

step_up <- function(p, rate) {  # the number rejected by Benjamini and Hochberg's procedure
  below <- which(sort(p) <= seq_along(p) * rate / length(p) * (1 + 1e-12))
  if (length(below)) max(below) else 0
}
two_stage <- function(p, rate) {
  m <- length(p)
  first <- step_up(p, rate)
  if (first == m) m else step_up(p, rate * m / (m - first))
}
sharpened <- function(p) {  # the least rate among all at which something can change
  m <- length(p)
  a <- m * sort(p) / seq_len(m)
  rates <- sort(unique(c(a, as.vector(outer(m - 0:m, a / m)))))
  rejected <- sapply(rates, function(rate) two_stage(p, rate))
  rank <- rank(p, ties.method = "max")
  q <- sapply(rank, function(i) min(rates[rejected >= i]))
  ifelse(q < .5, q / (1 - q), 1)
}
grid <- function(p) {
  rank <- rank(p, ties.method = "first")
  q <- rep(1, length(p))
  for (rate in (1000:0) / 1000) {
    found <- two_stage(p, rate / (1 + rate))
    q[rank <= found] <- rate
  }
  q
}
p <- read.csv(file.path(here, "p_values.csv"))
rows <- lapply(unique(p$family), function(family) {
  values <- p$p_value[p$family == family]
  data.frame(family = family, bh = number(p.adjust(values, "BH")),
             sharpened = number(sharpened(values)), grid = number(grid(values)))
})
write(do.call(rbind, rows), "q_values.csv")
write(data.frame(version = paste(R.version$major, R.version$minor, sep = ".")), "version.csv")

# Restricted mean time to the first event, by arm: the area below the Kaplan-Meier curve to day 14
times <- read.csv(file.path(here, "times.csv"))
fit <- survival::survfit(survival::Surv(days, event) ~ arm, data = times)
area <- summary(fit, rmean = 14)$table[, "rmean"]
write(data.frame(arm = sub("arm=", "", names(area)), rmean = number(area)), "restricted_means.csv")
