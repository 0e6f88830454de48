"""Support of words: the probability that the picture supports a word, by a small model over the checks of it.

    kinds.py         what kind of claim a word makes: noun, colour, count, ...
    context.py       what its checks do not know: a prompt that names it, the same word before
    judged.py        words whose truth is known, with their checks, and the file that holds them
    model.py         SupportModel: checks and kinds to probabilities, and what it was measured on
    fit.py           a model of judged words, and out-of-fold probabilities
    reasons.py       why a word has little support, in short sentences
    alternatives.py  what else could stand in a word's place, and what the picture supports better
    scores.py        AUROC and calibration error, with intervals that draw sentences again

What is wrong in one network's words is not what is wrong in another's, so that a model speaks for the networks that it
was measured on alone, which it knows by the hash of their weights.
"""
