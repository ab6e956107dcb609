// What the reports of `SmallRun` look like; its figures were recomputed by a program that is not ours.

let goldenReport = """
    COLDSTREAM
      events   1,248 read · 1,240 used · 4 duplicates · 1 orphans · 3 dead letters
      labels   1,000 impressions · 230 clicks · 1,000 labels · 2 corrections
      scores   77 published · 0 rows evicted
      speed    0.1 s · 12,480 events/s · memory peak 100 MiB
      fresh    no freshness in a batch: events did not arrive in real time

    DOMAINS
                impressions    CTR    AUC   GAUC  log loss  calib.  1st fifth: AUC  calib.
      feed              600  25.0%  .7014  .7082     .4791   1.184           .6879   0.995
      new.feed          400  20.0%  .7063  .7131     .4693   1.157           .6882   1.060
      all             1,000  22.2%  .7036  .7102     .4752   1.173           .6852   1.063
      exact, each prediction made before its label was known; recomputed from examples.jsonl

    THE NEWEST DOMAIN: new.feed  (it began 20 min 00 s after the log; AUC by labels so far)
       AUC .75 ┤
               │  ▄▄▄▄▄   ▄▄▄▄▄   ▅▅▅▅▅
               │  █████   █████   █████
               │  █████   █████   █████
               │  █████   █████   █████
               │  █████   █████   █████
       AUC .50 ┤  █████   █████   █████
    to label        100     200     400
    AUC           .6958   .6958   .7028
    others' AUC       –       –       –
    log loss      .4668   .4678   .4712
    calibration    1.09    1.13    1.20

    BY AGE OF THE ITEM  (its labels so far in the domain; cal. = calibration)
                                  no label                 1–9               10–99        100 and more
                        examples  AUC cal.  examples  AUC cal.  examples  AUC cal.  examples  AUC cal.
      feed                    40 .610 1.10         0    –    –         0    –    –       560 .713 0.99

    TOP ITEMS  (score, 90 % interval, labels so far)
      feed: 3 items scored, 1 of them without a label yet
        b                           .5000  .305–.695  ·············────────●────────         12
        a                           .2500  .213–.290  ·········─●──·················        400
        c                           .1250  .027–.425  ·────●─────────────···········  zero-shot
      search: 2 pairs of query and item scored, 0 of them without a label yet
        "blue shoes"
        a                           .5000  .399–.601  ··············────●───········         20
        "red shoes"
        a                           .7500  .665–.819  ························───●──          2

    DEAD LETTERS
      2  invalid_json   It is not JSON.
      1  missing_field  /type is missing.

    """

let goldenEvaluation = """
    QUALITY  (each prediction made before its label was known)
                examples   rate    AUC   GAUC  log loss  calib.  1st fifth: AUC  calib.
      feed           600  22.3%  .7014  .7082     .4791   1.184           .6879   0.995
      new.feed       400  22.0%  .7063  .7131     .4693   1.157           .6882   1.060
      all          1,000  22.2%  .7036  .7102     .4752   1.173           .6852   1.063
      2 labels corrected later

    CEILING  (the true probabilities on the same impressions)
                examples    AUC   GAUC  log loss  calibration
      feed           600  .7037  .7082     .4726        1.052
      new.feed         0      –      –         –            –
      all            600  .7037  .7082     .4726        1.052

    90 % INTERVALS THAT HOLD THE TRUE PROBABILITY  (recommendation, by labels so far)
            0: items    held  1–9: items  held  10–99: items  held  ≥100: items    held
      feed         1  100.0%           0     –             1  0.0%            1  100.0%
      all          1  100.0%           0     –             1  0.0%            1  100.0%

                              0  1–9  10–99   ≥100
      mean score / truth  0.500    –  0.556  1.000
      mean width           .399    –   .390   .077

    """
