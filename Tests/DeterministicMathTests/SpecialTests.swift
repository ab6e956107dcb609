// Gamma functions and the normal distribution against values computed with 50 digits (mpmath 1.3).

import DeterministicMath
import Testing

@Suite struct `Special functions` {
    // x, lgamma(x), digamma(x), trigamma(x)
    static let gammaTable: [(Double, Double, Double, Double)] = [
        (1e-8, 18.420680738180208884, -100000000.57721564636, 10000000000000001.226),
        (0.01, 4.5994798780420217016, -100.56088545786867242, 10001.621213528312804),
        (0.3, 1.0957979948180755606, -3.5025242222001331249, 12.245364546107731301),
        (0.5, 0.57236494292470008707, -1.9635100260214234794, 4.9348022005446793094),
        (1, 0.0, -0.57721566490153286061, 1.6449340668482264365),
        (1.25, -0.098271836421813161464, -0.22745353337626540809, 1.1973291545071107393),
        (
            1.4616321449683622, -0.1214862905358496081, -9.2412655217294275168e-17,
            0.967672245447621255
        ),
        (2, 0.0, 0.42278433509846713939, 0.64493406684822643647),
        (2.5, 0.28468287047291915963, 0.70315664064524318723, 0.49035775610023486497),
        (3.7, 1.4280723266653881292, 1.1671535393615114409, 0.31003785767003830216),
        (6, 4.7874917427820459942, 1.7061176684318004727, 0.18132295573711532536),
        (8.999, 10.602462320025602173, 2.140523959043717319, 0.11752580963061462594),
        (9, 10.604602902745250228, 2.1406414779556099965, 0.11751201469403142513),
        (12.5, 18.734347511936445702, 2.4851956512749120482, 0.083285224601578370444),
        (100.25, 360.28455963776423497, 4.6026712432747125591, 0.010024978698123366186),
        (12345.678, 103959.91990554605982, 9.4210208207417608775, 0.000081003287231112069147),
        (1e9, 19723265827.503716771, 20.723265836446411156, 1.0000000005000000002e-9),
    ]

    @Test(arguments: gammaTable)
    func `lgamma, digamma and trigamma agree with 50 digits`(
        x: Double, l: Double, d: Double, t: Double
    ) {
        #expect(abs(Math.lgamma(x) - l) <= 1e-14 * max(1, abs(l)), "lgamma \(x)")
        #expect(abs(Math.digamma(x) - d) <= 1e-14 * max(1, abs(d)), "digamma \(x)")
        #expect(abs(Math.trigamma(x) - t) <= 1e-14 * t, "trigamma \(x)")
    }

    @Test func `lgamma of n + 1 is the logarithm of n factorial`() {
        var factorial = 1.0
        for n in 1...20 {
            factorial *= Double(n)
            #expect(abs(Math.lgamma(Double(n) + 1) - Math.log(factorial)) < 1e-13)
        }
    }

    @Test func `outside their domain they are not numbers`() {
        #expect(Math.lgamma(-1.5).isNaN && Math.digamma(0).isNaN && Math.trigamma(-1).isNaN)
        #expect(Math.lgamma(.nan).isNaN && Math.lgamma(0) == .infinity)
    }

    // x, chance of at most x
    static let normalTable: [(Double, Double)] = [
        (-37, 5.7255712225245768227e-300),
        (-20, 2.7536241186062336951e-89),
        (-8, 6.2209605742717841235e-16),
        (-7.0710678, 7.6872996295454448524e-13),
        (-7.1, 6.2378444633315911405e-13),
        (-5, 2.8665157187919391167e-7),
        (-3.5, 0.00023262907903552503635),
        (-1.96, 0.024997895148220436213),
        (-1, 0.15865525393145705141),
        (-0.5, 0.30853753872598689636),
        (-0.001, 0.49960105778608893741),
        (0.001, 0.50039894221391106259),
        (0.4, 0.65542174161032417491),
        (1, 0.84134474606854294859),
        (1.6448536269514722, 0.94999999999999994607),
        (2.5, 0.99379033467422386483),
        (4, 0.99996832875816688008),
        (6, 0.99999999901341235496),
        (8, 0.9999999999999993779),
    ]

    @Test(arguments: normalTable)
    func `the normal distribution agrees with 50 digits in both directions`(x: Double, p: Double) {
        #expect(abs(Math.normalCDF(x) - p) <= 2e-13 * p, "cdf \(x)")
        if x < 5 {
            #expect(abs(Math.normalQuantile(p) - x) <= 1e-13 * max(1, abs(x)), "quantile \(p)")
        }
    }

    @Test func `certainty is infinitely far away`() {
        #expect(Math.normalQuantile(0) == -.infinity && Math.normalQuantile(1) == .infinity)
        #expect(Math.normalQuantile(-0.1).isNaN && Math.normalQuantile(.nan).isNaN)
        #expect(Math.normalCDF(-.infinity) == 0 && Math.normalCDF(.infinity) == 1)
        #expect(Math.normalCDF(0) == 0.5 && Math.normalQuantile(0.5) == 0)
    }
}
