// Gamma functions and the normal distribution, on Double: what likelihoods, priors and intervals need.

extension Math {
    /// The logarithm of the gamma function, for `x` > 0; NaN for other `x`, ∞ at 0 and ∞.
    ///
    /// Stirling's series from 9 on, below by `Γ(x) = Γ(x + n) / (x (x + 1) … (x + n - 1))`. Absolute error
    /// below 1e-14 for x ≤ 10, relative error below 1e-15 above.
    public static func lgamma(_ x: Double) -> Double {
        if x == 0 || x == .infinity { return .infinity }
        guard x > 0 else { return .nan }
        var product = 1.0
        var y = x
        while y < 9 {
            product *= y
            y += 1
        }
        let inverse = 1 / y
        let w = inverse * inverse
        var series = -691.0 / 360360 + w * (1.0 / 156)
        series = 1.0 / 1188 + w * series
        series = -1.0 / 1680 + w * series
        series = 1.0 / 1260 + w * series
        series = -1.0 / 360 + w * series
        series = inverse * (1.0 / 12 + w * series)
        let halfLogTwoPi = 0.91893853320467274178
        return ((y - 0.5) * log(y) - y) + (halfLogTwoPi + series) - log(product)
    }

    /// The derivative of `lgamma`, for `x` > 0; NaN for other `x`.
    ///
    /// Asymptotic series from 9 on, below by `ψ(x) = ψ(x + 1) - 1 / x`. Absolute error below 1e-14 times
    /// the larger of 1 and 1 / x.
    public static func digamma(_ x: Double) -> Double {
        guard x > 0 else { return .nan }
        if x == .infinity { return .infinity }
        var shift = 0.0
        var y = x
        while y < 9 {
            shift += 1 / y
            y += 1
        }
        let inverse = 1 / y
        let w = inverse * inverse
        var series = 691.0 / 32760 - w * (1.0 / 12)
        series = -1.0 / 132 + w * series
        series = 1.0 / 240 + w * series
        series = -1.0 / 252 + w * series
        series = 1.0 / 120 + w * series
        series = w * (-1.0 / 12 + w * series)
        return (log(y) - 0.5 * inverse) + series - shift
    }

    /// The derivative of `digamma`, for `x` > 0; NaN for other `x`. Relative error below 1e-14.
    public static func trigamma(_ x: Double) -> Double {
        guard x > 0 else { return .nan }
        if x == .infinity { return 0 }
        var shift = 0.0
        var y = x
        while y < 9 {
            shift += 1 / (y * y)
            y += 1
        }
        let inverse = 1 / y
        let w = inverse * inverse
        var series = -691.0 / 2730 + w * (7.0 / 6)
        series = 5.0 / 66 + w * series
        series = -1.0 / 30 + w * series
        series = 1.0 / 42 + w * series
        series = -1.0 / 30 + w * series
        series = 1.0 / 6 + w * series
        return inverse + 0.5 * w + inverse * w * series + shift
    }

    /// The chance that a standard normal value is at most `x`.
    ///
    /// Relative error below 2e-13 (below 1e-15 absolute); 0 and 1 at ∓∞. A rational function up to 3
    /// standard deviations, behind it Laplace's continued fraction to 60 terms.
    /// - Source: J. F. Hart, Computer Approximations, 1968, as given by G. West, Better approximations to
    ///   cumulative normal functions, Wilmott 2005.
    public static func normalCDF(_ x: Double) -> Double {
        guard x == x else { return .nan }
        let a = x < 0 ? -x : x
        guard a < 38 else { return x < 0 ? 0 : 1 }
        let density = exp(-0.5 * a * a)
        var tail: Double
        if a < 3 {
            var p = 3.52624965998911e-02 * a + 0.700383064443688
            p = p * a + 6.37396220353165
            p = p * a + 33.912866078383
            p = p * a + 112.079291497871
            p = p * a + 221.213596169931
            p = p * a + 220.206867912376
            var q = 8.83883476483184e-02 * a + 1.75566716318264
            q = q * a + 16.064177579207
            q = q * a + 86.7807322029461
            q = q * a + 296.564248779674
            q = q * a + 637.333633378831
            q = q * a + 793.826512519948
            q = q * a + 440.413735824752
            tail = density * p / q
        } else {
            var fraction = a
            for k in stride(from: 60.0, to: 0, by: -1) { fraction = a + k / fraction }
            tail = density / fraction * 0.39894228040143267794
        }
        if tail > 0.5 { tail = 0.5 }
        return x > 0 ? 1 - tail : tail
    }

    /// The `x` that a standard normal value does not exceed with chance `p`.
    ///
    /// Relative error below 1e-14 in the tails, absolute below 1e-15 around the centre; −∞ at 0, ∞ at 1,
    /// NaN outside.
    /// - Source: M. J. Wichura, Algorithm AS 241, Applied Statistics 37, 1988 (PPND16).
    public static func normalQuantile(_ p: Double) -> Double {
        guard p >= 0, p <= 1 else { return .nan }
        if p == 0 { return -.infinity }
        if p == 1 { return .infinity }
        let q = p - 0.5
        if q >= -0.425, q <= 0.425 {
            let r = 0.180625 - q * q
            var n = 2.5090809287301226727e3 * r + 3.3430575583588128105e4
            n = n * r + 6.7265770927008700853e4
            n = n * r + 4.5921953931549871457e4
            n = n * r + 1.3731693765509461125e4
            n = n * r + 1.9715909503065514427e3
            n = n * r + 1.3314166789178437745e2
            n = n * r + 3.3871328727963666080e0
            var d = 5.2264952788528545610e3 * r + 2.8729085735721942674e4
            d = d * r + 3.9307895800092710610e4
            d = d * r + 2.1213794301586595867e4
            d = d * r + 5.3941960214247511077e3
            d = d * r + 6.8718700749205790830e2
            d = d * r + 4.2313330701600911252e1
            d = d * r + 1
            return q * n / d
        }
        var r = sqrt(-log(q < 0 ? p : 1 - p))
        var n: Double
        var d: Double
        if r <= 5 {
            r -= 1.6
            n = 7.74545014278341407640e-4 * r + 2.27238449892691845833e-2
            n = n * r + 2.41780725177450611770e-1
            n = n * r + 1.27045825245236838258e0
            n = n * r + 3.64784832476320460504e0
            n = n * r + 5.76949722146069140550e0
            n = n * r + 4.63033784615654529590e0
            n = n * r + 1.42343711074968357734e0
            d = 1.05075007164441684324e-9 * r + 5.47593808499534494600e-4
            d = d * r + 1.51986665636164571966e-2
            d = d * r + 1.48103976427480074590e-1
            d = d * r + 6.89767334985100004550e-1
            d = d * r + 1.67638483018380384940e0
            d = d * r + 2.05319162663775882187e0
            d = d * r + 1
        } else {
            r -= 5
            n = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
            n = n * r + 1.24266094738807843860e-3
            n = n * r + 2.65321895265761230930e-2
            n = n * r + 2.96560571828504891230e-1
            n = n * r + 1.78482653991729133580e0
            n = n * r + 5.46378491116411436990e0
            n = n * r + 6.65790464350110377720e0
            d = 2.04426310338993978564e-15 * r + 1.42151175831644588870e-7
            d = d * r + 1.84631831751005468180e-5
            d = d * r + 7.86869131145613259100e-4
            d = d * r + 1.48753612908506148525e-2
            d = d * r + 1.36929880922735805310e-1
            d = d * r + 5.99832206555887937690e-1
            d = d * r + 1
        }
        return q < 0 ? -(n / d) : n / d
    }
}
