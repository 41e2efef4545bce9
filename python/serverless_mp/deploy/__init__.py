"""`serverless-mp deploy` and related commands: they create and delete the function, its layer and its role.

Needs the extra: `pip install 'serverless_mp[aws]'`.
"""
