"""The dialect of Chronos on SageMaker JumpStart, which AutoGluon-Cloud speaks too: `inputs` and `parameters`.

It is translated here, into what the clients of DeepAR ask and from what they are answered; limits, checks and
predictions are the same. Source: Chronos, "Deploy Chronos-2 to Amazon SageMaker", "Endpoint API".

parameters   what is asked for -> a configuration, and how many steps to answer
dialect      inputs -> instances, predictions -> the answer's objects
"""
