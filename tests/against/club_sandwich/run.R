# Covariances and Satterthwaite degrees of freedom of clubSandwich, and two-stage least squares of
# AER, for the designs in data.csv. Debian: apt-get install r-cran-clubsandwich r-cran-aer
# Rscript tests/against/club_sandwich/run.R, from the folder of the project
suppressPackageStartupMessages({library(clubSandwich); library(AER)})
here <- "tests/against/club_sandwich"
data <- read.csv(file.path(here, "data.csv"))
rows <- list()
add <- function(case, model, effects, fit, vcov) {
  test <- coef_test(fit, vcov = vcov, test = "Satterthwaite", coefs = effects)
  rows[[length(rows) + 1]] <<- data.frame(
    case = case, model = model, effect = effects, estimate = test$beta, std_error = test$SE, df = test$df_Satt)
}
for (case in unique(data$case)) {
  d <- data[data$case == case, ]
  d$arm <- factor(d$arm); d$stratum <- factor(d$stratum)
  strata <- if (nlevels(d$stratum) > 1) "+ stratum" else ""
  effects <- paste0("arm", levels(d$arm)[-1])
  models <- list(c("units", ""), c("units, strata", strata), c("units, strata, x", paste(strata, "+ x")))
  for (m in models) {
    formula <- as.formula(paste("y ~ arm", m[2]))
    fit <- lm(formula, data = d, weights = weight)
    add(case, m[1], effects, fit, vcovCR(fit, cluster = seq_len(nrow(d)), type = "CR2"))
    add(case, sub("units", "clusters", m[1]), effects, fit,
        vcovCR(fit, cluster = d$cluster, type = "CR2"))
    inverse <- vcovCR(fit, cluster = seq_len(nrow(d)), type = "CR2", inverse_var = TRUE)
    add(case, paste(m[1], "inverse", sep = ", "), effects, fit, inverse)
  }
  # means of arms with square-root weights, as adaptively weighted estimators have them
  fit <- lm(y ~ 0 + arm, data = d, weights = sqrt(weight))
  means <- names(coef(fit))
  add(case, "means of units", means, fit, vcovCR(fit, cluster = seq_len(nrow(d)), type = "CR2"))
  add(case, "means of clusters", means, fit, vcovCR(fit, cluster = d$cluster, type = "CR2"))
  if (length(effects) == 1) {
    for (weighted in c(FALSE, TRUE)) {
      d$w <- if (weighted) d$weight else 1
      text <- paste("y ~ received", strata, "| arm", strata)
      fit <- if (weighted) ivreg(as.formula(text), data = d, weights = w) else
        ivreg(as.formula(text), data = d)
      name <- if (weighted) "two-stage, weights" else "two-stage"
      add(case, name, "received", fit, vcovCR(fit, cluster = d$cluster, type = "CR2"))
      # the joint covariance of the effects on outcome and receipt, by that of their sum
      d$sum <- d$y + d$received
      for (of in c("y", "received", "sum")) {
        reduced <- lm(as.formula(paste(of, "~ arm", strata)), data = d, weights = w)
        add(case, paste0(of, if (weighted) ", weights" else ""), effects, reduced,
            vcovCR(reduced, cluster = d$cluster, type = "CR2", inverse_var = FALSE,
                   target = rep(1, nrow(d))))
      }
    }
  }
}
found <- do.call(rbind, rows)
found[4:6] <- lapply(found[4:6], function(v) sprintf("%.15g", v))
found$versions <- sprintf("R %s, clubSandwich %s, AER %s", getRversion(),
                          packageVersion("clubSandwich"), packageVersion("AER"))
write.csv(found, file.path(here, "output.csv"), row.names = FALSE, quote = TRUE)
